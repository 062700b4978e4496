from __future__ import annotations

import pytest

from recsys_spark.contracts.columns import SPLITS
from recsys_spark.contracts.config import QueriesConfig, SequencesConfig
from recsys_spark.entities.id_maps import dense_index
from recsys_spark.sequences.examples import build_queries, build_sequences, split_bounds
from recsys_spark.sequences.histories import customer_histories
from tests.support.frames import rows
from tests.support.worlds import interactions

CUTOFFS = {"fold_end": "2011-01-02", "train_end": "2011-01-03T09:00:00", "val_end": "2011-01-04T09:00:00"}
EVENTS = [("7", "A", 0), ("7", "B", 0), ("7", "A", 2), ("7", "C", 2), ("7", "B", 3), ("7", "C", 5), ("8", "A", 4)]


def histories_of(spark, events, merge_minutes=0):
    """Histories with item_idx by alphabet, so that the expected rows can be read."""
    lines = interactions(spark, events)
    codes = sorted({code for _, code, _ in events})
    item_ids = spark.createDataFrame(list(enumerate(codes, start=1)), "item_idx bigint, stock_code string")
    customers = sorted({customer for customer, _, _ in events})
    customer_ids = spark.createDataFrame(list(enumerate(customers, start=1)), "user_idx bigint, customer_id string")
    return customer_histories(lines, item_ids, customer_ids, merge_minutes)


def sequences_of(spark, split, events=EVENTS, **config):
    options = SequencesConfig(**{"hist_max": 3, **config})
    return build_sequences(histories_of(spark, events), split_bounds(split, CUTOFFS), options)


def test_an_example_holds_what_was_bought_strictly_before(spark):
    found = rows(sequences_of(spark, "train"), "query_id", "pos_item_idx", "history", "history_days", "is_repeat")
    assert found == [
        (1_000_002, 1, [0, 1, 2], [0.0, 2.0, 2.0], True),
        (1_000_002, 3, [0, 1, 2], [0.0, 2.0, 2.0], False),  # A of the same basket is no history of C
    ]


def test_event_histories_also_hold_what_sorts_before_in_the_same_basket(spark):
    found = rows(sequences_of(spark, "train", history_mode="event"), "pos_item_idx", "history", "history_days")
    assert found == [(1, [0, 1, 2], [0.0, 2.0, 2.0]), (3, [1, 2, 1], [2.0, 2.0, 0.0])]


def test_an_event_at_a_cutoff_belongs_to_the_earlier_side(spark):
    assert [row[0] for row in rows(sequences_of(spark, "val"), "query_id")] == [1_000_003]
    assert rows(sequences_of(spark, "test"), "query_id", "history") == [(1_000_004, [1, 3, 2])]  # the newest three


def test_splits_hold_every_event_that_has_an_earlier_one(spark):
    events = [(str(n % 3), f"I{n % 5}", n % 11) for n in range(60)]
    distinct = sorted(set(events))
    firsts = {customer: min(day for c, _, day in distinct if c == customer) for customer in "012"}
    expected = sum(day > firsts[customer] for customer, _, day in distinct)
    assert sum(sequences_of(spark, split, distinct).count() for split in SPLITS) == expected


def test_a_query_holds_the_basket_and_a_customers_first_order_is_none(spark):
    config = QueriesConfig(hist_max=4, max_positives=3)
    queries = build_queries(histories_of(spark, EVENTS), split_bounds("train", CUTOFFS), config)
    assert rows(queries, "query_id", "customer_id", "history", "hist_len", "positives", "num_positives") == [
        (1_000_002, "7", [0, 0, 1, 2], 2, [1, 3, 0], 2)
    ]


def test_a_basket_that_is_too_large_is_cut_by_hash_and_says_so(spark):
    events = [("7", "A", 0), *(("7", f"B{n}", 1) for n in range(9))]
    config = QueriesConfig(max_positives=4)
    built = [build_queries(histories_of(spark, events), split_bounds("train", CUTOFFS), config) for _ in range(2)]
    (row,), (again,) = (rows(queries, "positives", "num_positives") for queries in built)
    assert row == again
    assert row[1] == 9
    assert len(set(row[0])) == 4
    assert row[0] == sorted(row[0])
    assert row[0] != [2, 3, 4, 5]  # not simply the first


def test_orders_that_follow_closely_are_joined(spark):
    spread = [("7", "A", 0), ("7", "B", 0.005), ("7", "B", 0.01), ("7", "C", 1)]  # 7 and 14 minutes after the first
    histories = histories_of(spark, spread, merge_minutes=10)
    (row,) = histories.collect()
    assert row["items"] == [1, 2, 3]
    assert len(set(row["micros"])) == 2
    assert row["amounts"] == [2.0, 4.0, 2.0]  # B was bought twice within the chain


def test_events_without_customer_or_item_are_in_no_history(spark):
    lines = interactions(spark, [(None, "A", 0), ("7", None, 0), ("7", "A", 1)])
    ids = [dense_index(lines, *names) for names in (("stock_code", "item_idx"), ("customer_id", "user_idx"))]
    assert rows(customer_histories(lines, *ids), "customer_id", "items") == [("7", [1])]


@pytest.mark.parametrize("partitions", [1, 7])
def test_examples_do_not_depend_on_partitions(spark, partitions):
    events = [(str(n % 9), f"I{n % 7}", n % 13) for n in range(200)]
    histories = histories_of(spark, sorted(set(events))).repartition(partitions)
    built = build_sequences(histories, split_bounds("test", CUTOFFS), SequencesConfig(hist_max=5))
    assert rows(built, "query_id", "pos_item_idx", "history") == rows(
        sequences_of(spark, "test", sorted(set(events)), hist_max=5), "query_id", "pos_item_idx", "history"
    )
