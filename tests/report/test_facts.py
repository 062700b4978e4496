from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.contracts.schemas import CUSTOMERS_CLEAN, INTERACTIONS_CLEAN, ITEMS_CLEAN, REJECTED_LINES
from recsys_spark.report.data_facts import rejected_examples, sales_over_time, spread_by, top_categories
from recsys_spark.report.source_facts import source_contributions
from tests.support.frames import frame


def test_sales_count_lines_money_and_each_customer_once_a_week(spark):
    rows = [
        ("a", datetime(2011, 1, 3), 2, "3.50"),  # a Monday
        ("a", datetime(2011, 1, 9, 23, 59, 59), 1, "1.25"),  # the Sunday of that week
        ("b", datetime(2011, 1, 9), 1, "0.25"),
        ("b", datetime(2011, 1, 10), 4, "10"),
    ]
    names = ("customer_id", "invoice_date", "num_lines", "line_amount")
    interactions = frame(spark, INTERACTIONS_CLEAN, [dict(zip(names, row, strict=True)) for row in rows])
    weeks = sales_over_time(interactions, "week")
    assert [(one.start, one.lines, one.money, one.customers) for one in weeks] == [
        ("2011-01-03", 4, 5.0, 2),
        ("2011-01-10", 4, 10.0, 1),
    ]
    months = sales_over_time(interactions, "month")
    assert [(one.start, one.lines, one.customers) for one in months] == [("2011-01-01", 8, 2)]


def test_weeks_and_months_without_a_sale_are_told_as_zero(spark):
    times = (datetime(2011, 12, 20), datetime(2012, 1, 9), datetime(2012, 3, 1))
    rows = [{"customer_id": "a", "invoice_date": time, "num_lines": 2, "line_amount": 3} for time in times]
    interactions = frame(spark, INTERACTIONS_CLEAN, rows)
    weeks = sales_over_time(interactions.filter("invoice_date < '2012-02-01'"), "week")
    assert [(one.start, one.lines, one.money, one.customers) for one in weeks] == [
        ("2011-12-19", 2, 3.0, 1),
        ("2011-12-26", 0, 0.0, 0),
        ("2012-01-02", 0, 0.0, 0),
        ("2012-01-09", 2, 3.0, 1),
    ]
    months = sales_over_time(interactions, "month")
    assert [(one.start, one.lines) for one in months] == [
        ("2011-12-01", 2),
        ("2012-01-01", 2),
        ("2012-02-01", 0),
        ("2012-03-01", 2),
    ]


def test_steps_are_one_two_and_five_times_powers_of_ten_and_hold_every_member(spark):
    sizes = [1, 1, 2, 4, 5, 9, 10, 19, 20, 49, 50, 99, 100, 1000, 4999, 5000]
    rows = [
        {"user_idx": n, "num_orders": size, "num_interactions": size, "total_amount": 2} for n, size in enumerate(sizes)
    ]
    steps = spread_by(frame(spark, CUSTOMERS_CLEAN, rows), "num_orders")
    counted = {(one.low, one.high): (one.members, one.lines) for one in steps}
    edges = [1, 2, 5, 10, 20, 50, 100, 200, 1000, 2000, 5000, 10000]
    expected = {}
    for low, high in pairwise(edges):
        inside = [size for size in sizes if low <= size < high]
        if inside:
            expected[(low, high)] = (len(inside), sum(inside))
    assert counted == expected
    assert sum(one.members for one in steps) == len(sizes)
    assert sum(one.money for one in steps) == 2 * len(sizes)


def test_sizes_below_one_have_steps_and_those_without_size_are_left_out(spark):
    rows = [{"user_idx": n, "total_amount": size, "num_interactions": 1} for n, size in enumerate((0.03, 0.5, 0, 3))]
    steps = spread_by(frame(spark, CUSTOMERS_CLEAN, rows), "total_amount")
    assert [(round(one.low, 4), one.members) for one in steps] == [(0.02, 1), (0.5, 1), (2.0, 1)]


def test_categories_go_by_money_and_then_by_name(spark):
    rows = [
        {"item_idx": n, "category": category, "total_amount": money, "num_interactions": 1}
        for n, (category, money) in enumerate([("B", 5), ("A", 5), ("C", 9), (None, 99), ("B", 0)])
    ]
    found = top_categories(frame(spark, ITEMS_CLEAN, rows))
    assert [(one["category"], one["items"], one["money"]) for one in found] == [
        ("C", 1, 9.0),
        ("A", 1, 5.0),
        ("B", 2, 5.0),
    ]


def test_of_each_rule_the_first_lines_in_the_source_are_shown_without_their_folder(spark):
    rows = [
        {"rule": rule, "source_file": "file:/secret/b.csv", "source_sheet": "", "source_row": row, "quantity": str(row)}
        for rule, row in [("return", 9), ("return", 2), ("return", 30), ("return", 4), ("non_product", 1)]
    ]
    found = rejected_examples(frame(spark, REJECTED_LINES, rows).repartition(3))
    assert {rule: [line["source_row"] for line in lines] for rule, lines in found.items()} == {
        "return": [2, 4, 9],
        "non_product": [1],
    }
    assert found["return"][0]["file"] == "b.csv"


def candidates(spark, rows):
    """CANDIDATES from (positives, items, ranks by source) triples."""
    filled = []
    for query, (positives, items, ranks) in enumerate(rows):
        row = {"query_id": query, "event_time": datetime(2011, 1, 1) + timedelta(days=query), "history": []}
        row |= {"positives": positives, "items": items}
        for source in SOURCES:
            row[f"rank_{source}"] = ranks.get(source, [0] * len(items))
            row[f"score_{source}"] = [0.0] * len(items)
        filled.append(row)
    return frame(spark, CANDIDATES, filled)


def test_a_source_is_credited_for_what_it_proposed_within_its_quota(spark):
    quotas = {**dict.fromkeys(SOURCES, 0), "own": 2, "ease": 1}
    made = [
        # own proposes 1 and 2 and only ranks 3; ease proposes 2 alone of its two
        ([1, 2, 3, 9], [1, 2, 3], {"own": [1, 2, 3], "ease": [2, 1, 0], "due": [1, 1, 1]}),
        ([5], [4], {"own": [1], "ease": [1]}),
        ([], [7], {"ease": [1]}),
    ]
    found = source_contributions(candidates(spark, made), quotas)
    assert (found["queries"], found["positives"], found["proposed"], found["found"]) == (3, 5, 5, 3)
    assert found["sources"] == {
        "own": {"proposed": 3, "found": 2, "alone": 1},
        "ease": {"proposed": 3, "found": 1, "alone": 0},
    }


@pytest.mark.parametrize("made", [[], [([1], [], {})]])
def test_without_candidates_all_counts_are_zero(spark, made):
    found = source_contributions(candidates(spark, made), {"own": 5})
    assert found["found"] == 0
    assert found["sources"] == {"own": {"proposed": 0, "found": 0, "alone": 0}}
