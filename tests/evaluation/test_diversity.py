"""Diversity against all pairs of items."""

from itertools import combinations
from math import sqrt

import numpy as np
import pytest

from recsys_spark.evaluation import diversity
from recsys_spark.evaluation.diversity import customer_diversity, list_diversity
from recsys_spark.session import arrow_batches_of
from tests.support.frames import rows

LISTS_DDL = "model string, protocol string, query_id bigint, stock_codes array<string>"
USERS_DDL = "query_id bigint, user_idx bigint"
BUYERS_DDL = "stock_code string, customer_id string"


def test_diversity_agrees_with_all_pairs_of_items(spark):
    bought = {"A": {1, 2, 3}, "B": {2, 3}, "C": {4}, "D": set()}
    lists = {1: ["A", "B", "C"], 2: ["A", "B"], 3: ["B", "D"], 4: ["A"]}  # the last has no pair
    frame = spark.createDataFrame([("m", "all_items", q, codes) for q, codes in lists.items()], LISTS_DDL)
    users = spark.createDataFrame([(query, 7) for query in lists], USERS_DDL)
    buyers = spark.createDataFrame([(code, f"C{u}") for code, users in bought.items() for u in users], BUYERS_DDL)
    found = rows(customer_diversity(frame, users, buyers), "diversity", "num_lists")
    expected = sum(_slow_diversity(lists[query], bought) for query in (1, 2, 3))
    assert found == [(pytest.approx(expected, abs=1e-12), 3.0)]


@pytest.mark.parametrize(("customers", "expected"), [(3, 3 * (1 - 1 / 2)), (1, 2.0)])
def test_the_vectors_of_diversity_have_at_most_so_many_customers(spark, monkeypatch, customers, expected):
    monkeypatch.setattr(diversity, "DIVERSITY_CUSTOMERS", customers)
    lists = spark.createDataFrame([(list(pair),) for pair in ("AB", "BC", "AC")], "stock_codes array<string>")
    # Each pair has one customer in common of two each; to a single customer one pair is alike and the others are not.
    buyers = spark.createDataFrame([(code, pair) for pair in ("AB", "BC", "AC") for code in pair], BUYERS_DDL)
    found = [rows(list_diversity(lists, buyers.repartition(parts))) for parts in (1, 5)]
    assert found[0] == found[1]
    assert sum(unlike for _, unlike in found[0]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rows_per_batch", [3, 10_000])
def test_diversity_of_many_lists_is_that_of_all_their_pairs(spark, rows_per_batch):
    rng = np.random.default_rng(1)
    bought = {f"P{item}": set(rng.choice(50, rng.integers(0, 30), replace=False).tolist()) for item in range(40)}
    lists = {tuple(rng.choice(list(bought), rng.integers(2, 21), replace=False).tolist()) for _ in range(30)}
    buyers = spark.createDataFrame([(code, f"C{who}") for code, users in bought.items() for who in users], BUYERS_DDL)
    frame = spark.createDataFrame([(list(codes),) for codes in lists], "stock_codes array<string>")
    with arrow_batches_of(spark, rows_per_batch):  # lists go on from one to the next
        told = {tuple(codes): value for codes, value in rows(list_diversity(frame, buyers))}
    assert told == pytest.approx({codes: _slow_diversity(codes, bought) for codes in lists}, abs=1e-12)


def _slow_diversity(codes, bought):
    cosines = []
    for one, other in combinations(codes, 2):
        length = sqrt(len(bought[one]) * len(bought[other]))
        cosines.append(len(bought[one] & bought[other]) / length if length else 0.0)
    return 1 - sum(cosines) / len(cosines)
