from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.baselines.item_knn import NeighbourModel
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.candidates.last_basket import LastBasket
from tests.candidates.tower_folders import histories

NUM_ORDERS, NUM_NEW = 60, 30


@pytest.fixture
def last_basket(tmp_path) -> LastBasket:
    """What goes with the item of the last order: all that was bought before, and behind it what never was."""
    others = np.concatenate([np.arange(1, NUM_ORDERS), np.arange(NUM_ORDERS + 1, NUM_ORDERS + NUM_NEW + 1)])
    tables = {
        "popularity": {"item_idx": others, "num_events": others, "num_recent_events": others},
        "neighbours": {
            "item_idx": np.full(len(others), NUM_ORDERS),
            "neighbour_idx": others,
            "score": 1.0 / np.arange(1, len(others) + 1),
        },
    }
    for name, columns in tables.items():
        (tmp_path / name).mkdir()
        pq.write_table(pa.table(columns), tmp_path / name / "part.parquet")
    popularity, neighbours = (FittedTable(str(tmp_path / name), name) for name in tables)
    fitted = FittedPopularity(popularity.path, popularity.content)
    return LastBasket(NeighbourModel("item_knn", fitted, neighbours, 60.0, 0.0, 0.0))


@pytest.mark.parametrize("num_customers", [1, 2])  # by a way of its own, and by matrices
def test_what_was_bought_before_the_last_order_takes_no_new_items_place(last_basket, num_customers):
    orders = [(day, day) for day in range(1, NUM_ORDERS + 1)]
    batch = replace(histories(*[orders] * num_customers), depth=20)
    scored = last_basket.score(batch)
    new = scored.items[(scored.rows == num_customers - 1) & (scored.items > NUM_ORDERS)]
    assert set(range(NUM_ORDERS + 1, NUM_ORDERS + 21)) <= set(new.tolist())
