from math import log2

import pytest

from recsys_spark.evaluation.list_metrics import (
    coverage,
    customer_list_sums,
    item_bits,
)
from tests.evaluation.worlds import NUM_ITEMS, random_world
from tests.support.frames import rows

LISTS_DDL = "model string, protocol string, query_id bigint, stock_codes array<string>"
BITS_DDL = "stock_code string, bits double"


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
