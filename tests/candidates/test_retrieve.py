"""What sources say of candidates, which may not depend on how much else the customer bought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.candidates.retrieve import Retriever
from recsys_spark.candidates.sources import Source
from tests.candidates.tower_folders import histories

NUM_ITEMS = 1000
QUOTA, PLACES = 6, 10  # of the source that is looked at, and of a query


@dataclass(frozen=True)
class BestFirst:
    """Ranks every query's items from the first to the last, or from the last to the first, as deep as models do."""

    backwards: bool = False
    name: str = "best_first"

    def popular(self) -> Popular:
        return Popular(np.arange(1, NUM_ITEMS + 1), np.zeros(NUM_ITEMS))

    def score(self, batch: QueryBatch) -> Scored:
        wanted = batch.num_earlier + batch.depth
        rows = np.repeat(np.arange(len(batch)), wanted)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
        return Scored(rows, NUM_ITEMS - place if self.backwards else place + 1, 1.0 - place / NUM_ITEMS)


def proposed(num_bought: int) -> dict[int, tuple[tuple[int, ...], tuple[float, ...]]]:
    """Ranks and scores of each candidate of a customer who bought that many items in the middle of both orders."""
    batch = histories([(day % 90, 400 + day) for day in range(num_bought)])
    sources = (Source("ease", BestFirst(), QUOTA, False), Source("item_knn", BestFirst(backwards=True), 2, False))
    found = Retriever(sources, PLACES, 0.5).propose(batch)
    columns = (found.ranks.tolist(), found.scores.tolist())
    return {int(item): (*map(tuple, both),) for item, *both in zip(found.items, *columns, strict=True)}


def test_ranks_and_scores_do_not_depend_on_how_much_the_customer_bought():
    few, many = proposed(5), proposed(200)
    assert few == many
    assert {item: ranks for item, (ranks, _) in few.items()} == {
        **{item: (item, 0) for item in range(1, QUOTA + 1)},
        NUM_ITEMS: (0, 1),
        NUM_ITEMS - 1: (0, 2),
    }


@pytest.mark.parametrize(("places", "rank"), [(20, 9), (9, 9), (8, 0)])
def test_beyond_its_quota_a_source_ranks_as_deep_as_a_query_has_places(places, rank):
    batch = histories([(1, 500)])
    own = Source("ease", BestFirst(), QUOTA, False)
    (listed,) = Retriever((own,), places, 0.5).listed(batch)
    assert dict(zip(listed.keys.tolist(), listed.ranks.tolist(), strict=True)).get(9, 0) == rank
