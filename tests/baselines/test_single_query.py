"""One query scored alone says what it says among others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.baselines.category_popularity import CategoryPopularity
from recsys_spark.baselines.item_knn import NeighbourModel
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.single_query import Row
from recsys_spark.baselines.user_knn import UserKnn
from recsys_spark.candidates.last_basket import LastBasket
from recsys_spark.contracts.model_config import KnnConfig
from tests.candidates.tower_folders import histories

NUM_ITEMS, NUM_USERS = 30, 12
events = st.lists(st.tuples(st.integers(0, 90), st.integers(1, NUM_ITEMS + 5)), max_size=40)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """All models that have a way of their own for one query, over random tables."""
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(5)

    def table(name: str, **columns) -> FittedTable:
        (folder / name).mkdir()
        pq.write_table(pa.table(columns), folder / name / "part.parquet")
        return FittedTable(str(folder / name), name)

    items = np.arange(1, NUM_ITEMS + 1)
    total = rng.integers(1, 90, NUM_ITEMS)
    recent = np.minimum(total, rng.integers(0, 30, NUM_ITEMS))
    counts = table("popularity", item_idx=items, num_events=total, num_recent_events=recent)
    popularity = FittedPopularity(counts.path, counts.content)
    pairs = np.stack(np.nonzero(rng.random((NUM_ITEMS, NUM_ITEMS)) < 0.4)) + 1
    weights = rng.normal(size=pairs.shape[1])  # EASE has negative ones
    neighbours = table("neighbours", item_idx=pairs[0], neighbour_idx=pairs[1], score=weights)
    users = np.stack(np.nonzero(rng.random((NUM_USERS, NUM_USERS)) < 0.4)) + 1
    alike = table("users", user_idx=users[0], neighbour_idx=users[1], score=rng.random(users.shape[1]))
    bought = np.stack(np.nonzero(rng.random((NUM_USERS, NUM_ITEMS)) < 0.4)) + 1
    times = pa.array(rng.integers(0, 40 * 86_400_000_000, bought.shape[1])).cast(pa.timestamp("us", tz="UTC"))
    source = table("source", user_idx=bought[0], item_idx=bought[1], last_time=times)
    kinds = pa.array(rng.choice(["a", "b", ""], NUM_ITEMS))
    categories = table("categories", item_idx=items, num_recent_events=recent, category=kinds)
    item_knn = NeighbourModel("item_knn", popularity, neighbours, 60.0, 0.7, 0.5, profile_items=4)
    return (
        item_knn,
        LastBasket(item_knn),
        NeighbourModel("ease", popularity, neighbours, 60.0, 0.0, 0.5, by_target=True),
        UserKnn(popularity, alike, source, KnnConfig()),
        CategoryPopularity(popularity, categories, 60.0),
    )


@settings(max_examples=60, deadline=None)
@given(customers=st.lists(events, min_size=2, max_size=4), depth=st.integers(1, 40))
def test_a_query_alone_scores_as_it_does_beside_others(models, customers, depth):
    import dataclasses

    together = dataclasses.replace(histories(*customers, users=[3, 11, 12, 13][: len(customers)]), depth=depth)
    for model in models:
        every = model.score(together)
        for row in range(len(customers)):
            alone = model.score(together.part(slice(row, row + 1)))
            own = every.rows == row
            order, order_alone = np.argsort(every.items[own]), np.argsort(alone.items)
            assert alone.items[order_alone].tolist() == every.items[own][order].tolist(), model.name
            assert alone.scores[order_alone].tolist() == every.scores[own][order].tolist(), model.name
            assert set(alone.rows) <= {0}


def test_the_heaviest_of_a_row_are_kept_in_the_order_of_columns():
    row = Row(np.array([2, 5, 7, 9]), np.array([1.0, 3.0, 1.0, 2.0]))
    assert row.heaviest(3).columns.tolist() == [2, 5, 9]
    assert (row.total, Row(row.columns[:0], row.values[:0]).total) == (7.0, 0.0)
