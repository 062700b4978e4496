from itertools import combinations
from math import log2, sqrt

import pytest

from recsys_spark.evaluation import list_metrics
from recsys_spark.evaluation.list_metrics import (
    coverage,
    customer_diversity,
    customer_list_sums,
    item_bits,
    list_diversity,
)
from tests.evaluation.worlds import NUM_ITEMS, random_world
from tests.support.frames import rows

LISTS_DDL = "model string, protocol string, query_id bigint, stock_codes array<string>"
USERS_DDL = "query_id bigint, user_idx bigint"
BITS_DDL = "stock_code string, bits double"
BUYERS_DDL = "stock_code string, customer_id string"


def test_novelty_is_the_information_in_what_is_listed(spark):
    rows_of = [("m", "all_items", 7_000_001, ["A", "B"]), ("m", "all_items", 8_000_001, ["A", "X"])]
    lists = spark.createDataFrame(rows_of, LISTS_DDL)
    bits = spark.createDataFrame([("A", 1.0), ("B", 3.0)], BITS_DDL)  # X has no event
    sums = customer_list_sums(lists, bits)
    assert rows(sums, "user_idx", "bits_5", "entries_5") == [(7, 4.0, 2.0), (8, 1.0, 1.0)]


def test_bits_come_from_the_share_of_events(spark):
    world = random_world(num_users=2, seed=1)
    bits = dict(rows(item_bits(world.popularity(spark), world.item_id_map(spark))))
    events = [idx for idx in range(1, NUM_ITEMS + 1) if idx not in world.cold_items]
    assert bits == pytest.approx({f"P{idx}": -log2(idx / sum(events)) for idx in events}, abs=1e-12)


def test_coverage_counts_eligible_items_once(spark):
    lists = [("m", "all_items", 1, list("ABCDEF")), ("m", "all_items", 2, ["A", "X"])]
    bits = spark.createDataFrame([(code, 1.0) for code in "ABCDEFGH"], BITS_DDL)
    shares = coverage(spark.createDataFrame(lists, LISTS_DDL), bits)
    assert rows(shares, "coverage_5", "coverage_10") == [(5 / 8, 6 / 8)]


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
    monkeypatch.setattr(list_metrics, "DIVERSITY_CUSTOMERS", customers)
    lists = spark.createDataFrame([(list(pair),) for pair in ("AB", "BC", "AC")], "stock_codes array<string>")
    # Each pair has one customer in common of two each; to a single customer one pair is alike and the others are not.
    buyers = spark.createDataFrame([(code, pair) for pair in ("AB", "BC", "AC") for code in pair], BUYERS_DDL)
    found = [rows(list_diversity(lists, buyers.repartition(parts))) for parts in (1, 5)]
    assert found[0] == found[1]
    assert sum(diversity for _, diversity in found[0]) == pytest.approx(expected, abs=1e-12)


def _slow_diversity(codes, bought):
    cosines = []
    for one, other in combinations(codes, 2):
        length = sqrt(len(bought[one]) * len(bought[other]))
        cosines.append(len(bought[one] & bought[other]) / length if length else 0.0)
    return 1 - sum(cosines) / len(cosines)
