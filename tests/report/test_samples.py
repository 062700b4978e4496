from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from recsys_spark.contracts import schemas
from recsys_spark.report.samples import NUM_SAMPLES, SampleFrames, sample_customers, sampled_queries
from tests.report.test_facts import candidates
from tests.support.frames import column, frame

THEN = datetime(2011, 6, 1, 12)
ITEMS = {number: f"P{number}" for number in range(1, 7)}


def queries(spark, pairs):
    rows = [
        {"query_id": query, "user_idx": query, "customer_id": customer, "event_time": THEN, "hist_len": 2}
        for query, customer in pairs
    ]
    return frame(spark, schemas.QUERIES, rows, history=[], history_days=[], positives=[], num_positives=1)


def bought(code, days, minutes=0):
    time = THEN - timedelta(days=days, minutes=minutes)
    return {"customer_id": "acme", "stock_code": code, "invoice_date": time, "line_amount": 1}


@pytest.fixture(scope="module")
def sample(spark):
    """One customer, whose list of P1 to P5 was made before the basket of P2, P6 and P1 that followed."""
    interactions = [
        bought("P1", 3),
        bought("P1", 40),
        bought("P5", 0, minutes=1),
        bought("P2", 0),
        bought("P6", 0),
        bought("P3", -1),  # the basket itself, and what came after it
    ]
    basket = [(2, 9.0, False), (6, 1.0, False), (1, 2.0, True)]
    sequences = [
        {
            "query_id": 0,
            "user_idx": 0,
            "pos_item_idx": item,
            "event_time": THEN,
            "line_amount": money,
            "is_repeat": repeat,
        }
        for item, money, repeat in basket
    ]
    listed = {"query_id": 0, "customer_id": "acme", "event_time": THEN}
    ranks = [(2, "all_items", 2), (1, "all_items", 1), (6, "all_items", None), (2, "first_purchase", 1)]
    events = [(1, 5, 5), (2, 9, 3), (3, 400, 0), (4, 7, 7)]
    made = [([1, 2, 6], [1, 2, 3], {"own": [1, 0, 0], "ease": [1, 2, 3], "user_knn": [0, 1, 3]})]
    frames = SampleFrames(
        queries=queries(spark, [(0, "acme")]),
        sequences=frame(spark, schemas.SEQUENCES, sequences, history=[], history_days=[]),
        rankings=frame(
            spark,
            schemas.RANKINGS,
            [
                {**listed, "protocol": "all_items", "stock_codes": ["P1", "P2", "P3", "P4", "P5"]},
                {**listed, "protocol": "first_purchase", "stock_codes": ["P6"]},
            ],
        ),
        ranks=frame(
            spark,
            schemas.POSITIVE_RANKS,
            [
                {"query_id": 0, "user_idx": 0, "pos_item_idx": item, "protocol": protocol, "rank": rank}
                for item, protocol, rank in ranks
            ],
        ),
        interactions=frame(spark, schemas.INTERACTIONS_CLEAN, interactions),
        items=frame(
            spark,
            schemas.ITEMS_CLEAN,
            [
                {"item_idx": number, "stock_code": code, "description": f"product {code}"}
                for number, code in ITEMS.items()
            ],
        ),
        popularity=frame(
            spark,
            schemas.ITEM_POPULARITY,
            [{"item_idx": item, "num_events": ever, "num_recent_events": recent} for item, ever, recent in events],
        ),
        candidates=candidates(spark, made),
        recommendations=frame(
            spark,
            schemas.RECOMMENDATIONS,
            [
                {"customer_id": customer, "rank": rank, "stock_code": "P1", "description": "now", "reason": "why"}
                for customer, rank in [("acme", 1), ("acme", 11), ("other", 1)]
            ],
        ),
    )
    quotas = {"own": 1, "ease": 3, "user_knn": 2, "due": 0}
    (found,) = sample_customers(frames, 1, 28, quotas, lambda name, made: made.localCheckpoint())
    return found


def test_history_is_what_came_before_the_basket_newest_first(sample):
    told = [(row["stock_code"], row["times_bought"], row["days_ago"]) for row in sample["history"]]
    assert told == [("P5", 1, 0), ("P1", 2, 3)]


def test_the_list_has_the_reasons_of_its_own_moment_and_marks_what_was_bought(sample):
    told = [(row["stock_code"], row["reason"], row["sources"], row["was_bought"]) for row in sample["listed"]]
    assert told == [
        ("P1", "bought twice, last 3 days ago", "own 1, ease 1", True),  # a tie goes by the config's order
        ("P2", "bought by customers who buy alike", "user_knn 1, ease 2", True),
        ("P3", "goes with what the customer buys", "ease 3", False),  # beyond the quota of user_knn
        ("P4", "sold 7 times in the 28 days before the test began", None, False),
        ("P5", "bought once, less than a day ago", None, False),
    ]


def test_the_basket_goes_by_place_in_the_list_then_money_and_its_totals_are_of_all(sample):
    told = [(row["stock_code"], row["rank"], row["is_repeat"]) for row in sample["bought"]]
    assert told == [("P1", 1, True), ("P2", 2, False), ("P6", None, False)]
    assert (sample["basket_items"], sample["basket_money"], sample["found"]) == (3, 12.0, 2)


def test_of_todays_recommendations_the_customers_own_head_is_shown(sample):
    assert [(row["place"], row["reason"]) for row in sample["now"]] == [(1, "why")]
    assert (sample["customer_id"], sample["day"]) == ("acme", "2011-06-01")


def test_customers_are_drawn_by_hash_one_query_each_whatever_the_partitions(spark):
    pairs = [(1000 * customer + number, f"c{customer}") for customer in range(60) for number in range(3)]
    asked = queries(spark, pairs)
    chosen = [sorted(column(sampled_queries(asked.repartition(parts), 7), "query_id")) for parts in (1, 5)]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == NUM_SAMPLES == len({query // 1000 for query in chosen[0]})
    assert {query % 1000 for query in chosen[0]} == {0, 1, 2}
    assert sorted(column(sampled_queries(asked, 8), "query_id")) != chosen[0]
