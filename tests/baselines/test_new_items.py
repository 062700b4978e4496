"""New items: vectors and scores worked by hand, a planted world, and what later lines may not change."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.baselines.item_content import item_content
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.new_items import NewItemNeighbours, load_vectors
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import rank_batch
from recsys_spark.contracts import schemas
from recsys_spark.sequences.windows import MICROS_PER_DAY, Events
from tests.support.frames import frame, rows
from tests.support.worlds import START

RED, BLUE, CHEAP, DEAR = 3, 5, 8, 9  # hashed features
# Items 1 to 3 were sold; 4 to 6 are new, and 6 has a feature that none of the sold ones has.
CONTENT = {1: (RED, CHEAP), 2: (RED, DEAR), 3: (BLUE, CHEAP), 4: (RED, CHEAP), 5: (BLUE, DEAR), 6: (17, 0)}
RECENT = {1: 0, 2: 3, 3: 1}


@pytest.fixture
def model(tmp_path):
    counts = {"item_idx": list(RECENT), "num_events": [5, 5, 5], "num_recent_events": list(RECENT.values())}
    pq.write_table(pa.table(counts), tmp_path / "popularity.parquet")
    features = pa.array([list(CONTENT[item]) for item in CONTENT], pa.list_(pa.int32()))
    pq.write_table(pa.table({"item_idx": list(CONTENT), "features": features}), tmp_path / "content.parquet")
    popularity = FittedPopularity(str(tmp_path / "popularity.parquet"), str(tmp_path))
    content = FittedTable(str(tmp_path / "content.parquet"), str(tmp_path))
    return NewItemNeighbours(popularity, content, half_life_days=10.0, prior=2.0)


def asked(*customers: list[int]) -> QueryBatch:
    """A query of each customer on day 20, a day after he bought his items."""
    offsets = np.cumsum([0, *map(len, customers)])
    items = np.array([item for own in customers for item in own], dtype=np.int64)
    events = Events(offsets, items, np.full(len(items), 19 * MICROS_PER_DAY))
    who = np.arange(len(customers))
    return QueryBatch(who, np.full(len(who), 20 * MICROS_PER_DAY), who, offsets[:-1], offsets[1:], events, who + 1)


def vector(item: int) -> np.ndarray:
    """By hand: of three sold items two are red, two cheap, one blue, one dear."""
    sold_with = {RED: 2, CHEAP: 2, BLUE: 1, DEAR: 1}
    found = np.zeros(20)
    for feature in CONTENT[item]:
        if feature:
            found[feature] = np.log(1 + 3 / sold_with.get(feature, 1))
    return found / np.linalg.norm(found)


EVERYBODY = (3 * vector(2) + 1 * vector(3)) / 4


def test_a_score_is_the_new_items_nearness_to_what_was_bought_with_everybodys_purchases_beside(model):
    found = model.score(asked([1, 1, 3], []))
    scores = dict(zip(zip(found.rows.tolist(), found.items.tolist(), strict=True), found.scores, strict=True))
    for item in (4, 5):
        own = (2 * vector(1) + vector(3) + 2 * EVERYBODY) / (3 + 2)
        assert scores[0, item] == pytest.approx(1000 * own @ vector(item))
        assert scores[1, item] == pytest.approx(1000 * EVERYBODY @ vector(item))
    assert (0, 6) not in scores


def test_new_items_alone_are_ranked_and_those_near_to_nothing_come_last(model):
    found = {
        lists.protocol: [part.tolist() for part in np.split(lists.items, lists.offsets[1:-1])]
        for lists in rank_batch(model, asked([1, 1, 1], [3, 3, 3, 5]), 9)
    }
    assert found == {
        "all_items": [[4, 5, 6], [5, 4, 6]],
        "first_purchase": [[4, 5, 6], [4, 6]],  # the second bought item 5, new as it is
        "masked_seen": [[4, 5, 6], [5, 4, 6]],
    }


def test_a_customer_of_whom_nothing_is_known_gets_what_is_near_to_everybodys_purchases(model):
    vectors = load_vectors(model.fitted, model.content)
    np.testing.assert_allclose(np.asarray(vectors.everybody.todense()).ravel()[:18], EVERYBODY[:18], atol=1e-12)
    (lists,) = (found for found in rank_batch(model, asked([]), 9) if found.protocol == "all_items")
    assert lists.items.tolist() == model.popular().items.tolist()


def test_content_is_that_of_the_first_line_and_later_lines_change_nothing(spark):
    def lines(days):
        return frame(
            spark,
            schemas.INTERACTIONS_CLEAN,
            [
                {
                    "customer_id": f"c{day}",
                    "stock_code": code,
                    "invoice_date": START + timedelta(days=day),
                    "brand": brand,
                    "price": price,
                    "description": "RED LANTERN",
                }
                for code, day, brand, price in days
            ],
        )

    items = frame(spark, schemas.ITEM_ID_MAP, [{"item_idx": n, "stock_code": c} for n, c in enumerate("AB", 1)])
    early = [("A", 0, "ACME", 2.0), ("B", 1, None, 200.0)]
    later = [("A", 5, "BELL", 9.0), ("A", 6, None, 1.0), ("B", 7, "ACME", 2.0)]
    found = rows(item_content(lines(early + later), items))
    assert found == rows(item_content(lines(early), items))
    (first, second) = (set(features) - {0} for _, features in found)
    assert len(first) == 4  # brand, price band, two words; no category
    assert len(second) == 3
    assert len(first & second) == 2
