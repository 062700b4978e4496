"""What is due, worked by hand."""

from __future__ import annotations

from math import log

import pytest

from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.candidates.due import DueItems
from tests.candidates.tower_folders import histories

DUE = DueItems(FittedPopularity("/no/popularity", "none"))  # no score asks for it
EVERY_TEN_DAYS = [(0, 4), (3, 5), (10, 4), (20, 4)]  # item 4 every ten days, item 5 once


def scores(*customers, day):
    """By (row of the query, item)."""
    found = DUE.score(histories(*customers, day=day))
    assert found.rows.shape == found.items.shape == found.scores.shape
    return dict(zip(zip(found.rows.tolist(), found.items.tolist(), strict=True), found.scores.tolist(), strict=True))


@pytest.mark.parametrize(
    ("day", "nearness"),
    [(20, 1 / 11), (25, 6 / 11), (30, 1), (50, 11 / 31)],  # days since and gap, one added to each: the less by the more
)
def test_an_item_bought_three_times_is_most_due_when_its_gap_is_over(day, nearness):
    assert scores(EVERY_TEN_DAYS, day=day) == {(0, 4): pytest.approx(log(4) * nearness)}


def test_each_customer_has_gaps_of_his_own():
    weekly = [(6, 5), (13, 5), (20, 5), (27, 5), (24, 4)]
    uneven = [(0, 9), (1, 9), (22, 9), (28, 9), (28, 8)]  # gaps of 1, 21 and 6 days: 28 / 3 in the mean
    found = scores(EVERY_TEN_DAYS, [], [(1, 4)], weekly, uneven, day=30)
    assert found == {
        (0, 4): pytest.approx(log(4)),
        (3, 5): pytest.approx(log(5) * 4 / 8),
        (4, 9): pytest.approx(log(5) * 3 / (28 / 3 + 1)),
    }


def test_what_was_bought_twice_at_one_time_has_a_gap_of_no_days():
    assert scores([(7, 4), (7, 4)], day=10) == {(0, 4): pytest.approx(log(3) * 1 / 4)}


def test_without_a_second_purchase_nothing_is_due():
    assert scores([(1, 4), (2, 5)], day=10) == {}
    assert scores([], day=10) == {}
