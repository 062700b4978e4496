from __future__ import annotations

import random

import numpy as np
import pytest

from recsys_spark.serving.bundle import CustomerArrays
from recsys_spark.serving.items import SALES, ItemArrays, write_baskets

NUM_ITEMS = 8


def purchases() -> list[tuple[int, int, int]]:
    """(customer, time, item) of 12 customers in order; the third bought nothing, and nobody bought item 7."""
    draw = random.Random(3)
    found = set()
    for user in range(1, 13):
        for time in draw.sample(range(9), 0 if user == 3 else 5):
            found |= {(user, time, item) for item in draw.sample((1, 2, 3, 4, 5, 6, 8), draw.randrange(1, 4))}
    return sorted(found)


def arrays_of(events: list[tuple[int, int, int]]) -> CustomerArrays:
    users, micros, items = np.array(events, dtype=np.int64).reshape(-1, 3).T
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=13))])
    nothing = np.zeros(0, dtype=np.int64)
    return CustomerArrays(
        offsets, items, micros, np.ones(len(items)), np.zeros(len(items)), np.zeros(len(items)), *[nothing] * 6
    )


def written(events, folder, at_a_time) -> ItemArrays:
    write_baskets(arrays_of(events), NUM_ITEMS, folder, at_a_time)
    for name in SALES:
        np.save(folder / f"{name}.npy", np.zeros(NUM_ITEMS + 1, dtype=np.int64))
    return ItemArrays.mapped(folder)


@pytest.mark.parametrize("at_a_time", [1, 7, 1000])
def test_who_bought_two_products_is_counted_as_by_hand_however_events_are_cut(tmp_path, at_a_time):
    events = purchases()
    found = written(events, tmp_path, at_a_time)
    buyers = {item: {user for user, _, each in events if each == item} for item in range(1, NUM_ITEMS + 1)}
    baskets = {item: {(u, t) for u, t, each in events if each == item} for item in range(1, NUM_ITEMS + 1)}
    for one in range(1, NUM_ITEMS + 1):
        for other in range(1, NUM_ITEMS + 1):
            expected = len(buyers[one] & buyers[other]), len(baskets[one] & baskets[other])
            assert found.bought_both(one, other) == expected
    assert max(len(buyers[1] & buyers[item]) for item in (2, 3, 4)) > 1


def test_two_customers_who_buy_at_the_same_time_have_baskets_of_their_own(tmp_path):
    found = written([(1, 5, 1), (2, 5, 2), (4, 6, 1), (4, 7, 2), (5, 7, 1), (5, 7, 2)], tmp_path, 1)
    assert found.bought_both(1, 2) == (2, 1)


def test_a_run_without_a_purchase_has_no_baskets(tmp_path):
    assert written([], tmp_path, 10).bought_both(1, 2) == (0, 0)
