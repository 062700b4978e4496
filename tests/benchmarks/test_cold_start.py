"""What the benchmark of cold starts withholds, and how it counts."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks.cold_start import FOLDS, hits, paired, positives_of, withheld
from recsys_spark.contracts import schemas
from tests.support.frames import frame, rows
from tests.support.worlds import START, interactions

CUSTOMERS = [f"c{number}" for number in range(12)]


def test_a_ratio_is_that_of_the_means_and_equal_hits_have_no_interval():
    users = np.repeat(np.arange(1, 61), 2)
    both, one = np.tile([1.0, 1.0], 60), np.tile([1.0, 0.0], 60)
    assert paired(users, both, one) == (2.0, [2.0, 2.0], [0.5, 0.5])
    assert paired(users, one, one) == (1.0, [1.0, 1.0], [0.0, 0.0])
    mixed = np.where(users % 2 == 0, both, 0.0)  # half of the customers
    ratio, bounds, moved = paired(users, mixed, one)
    assert ratio == 1.0
    assert bounds[0] < 1.0 < bounds[1]
    assert moved[0] < 0.0 < moved[1]


@pytest.fixture
def world(spark):
    """Every customer buys A on days 0 and 10, B on day 20, A and C on day 30, and A on day 40; the cutoff is day 15."""
    days = [("A", 0), ("A", 10), ("B", 20), ("A", 30), ("C", 30), ("A", 40)]
    lines = interactions(spark, [(customer, code, day) for customer in CUSTOMERS for code, day in days])
    users = [{"user_idx": n, "customer_id": c} for n, c in enumerate(CUSTOMERS, 1)]
    items = [{"item_idx": n, "stock_code": c} for n, c in enumerate("ABC", 1)]
    ends = [(START + timedelta(days=day)).isoformat() for day in (15, 35)]
    return SimpleNamespace(
        lines=lines,
        customers=frame(spark, schemas.CUSTOMER_ID_MAP, users),
        items=frame(spark, schemas.ITEM_ID_MAP, items),
        ends={"train": tuple(ends)},
    )


def test_a_withheld_customer_has_one_order_and_the_fit_knows_none_of_his(world):
    asked = []
    for fold in range(FOLDS):
        known, later, queries = withheld(world, "train", fold)
        held = {customer for (customer,) in rows(queries.select("customer_id"))}
        asked += sorted(held)
        assert {customer for (customer,) in rows(known.select("customer_id"))} == set(CUSTOMERS) - held
        assert {time for (time,) in rows(known.select("invoice_date"))} == {START, START + timedelta(days=10)}
        found = positives_of(later, queries, world.items)
        assert sorted(found["stock_code"]) == ["A"] * len(held) + ["C"] * len(held)
        assert not found["is_repeat"].any()  # of what he bought up to the cutoff, nothing is known
    assert sorted(asked) == sorted(CUSTOMERS)


def test_hits_are_those_of_the_protocol_within_the_first_k(spark):
    positives = pd.DataFrame(
        {"query_id": [1, 1, 2], "user_idx": 1, "stock_code": list("ABC"), "is_repeat": [True, False, False]}
    )
    lists = [(1, "all_items", ["A", "B"]), (1, "first_purchase", ["C", "B"]), (2, "first_purchase", ["A", "B"])]
    published = spark.createDataFrame(lists, "query_id bigint, protocol string, stock_codes array<string>")
    assert hits(published, positives, "all_items", 1)["hit"].tolist() == [1.0, 0.0, 0.0]
    assert hits(published, positives, "first_purchase", 2)["hit"].tolist() == [1.0, 0.0]
