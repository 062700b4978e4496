"""Orders and places within groups, held against NumPy's own sorts and against loops."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_spark.arrays import order_best_first, order_within, places_by_group, starts_of

SIZES = {
    "none": [],
    "of one": [1] * 50,
    "small": [3, 0, 1, 2] * 20,
    "large": [200, 1, 0, 500, 64],
    "one only": [300],
}


def groups_of(sizes: list[int]) -> np.ndarray:
    """Ascending numbers of groups, the first of which need not be 0."""
    return np.repeat(7 + 3 * np.arange(len(sizes)), sizes).astype(np.int64)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_places_and_starts_equal_a_loop(sizes):
    groups = groups_of(sizes)
    seen: dict[int, int] = {}
    expected = []
    for place, group in enumerate(groups.tolist()):
        expected.append(seen.setdefault(group, place))
    assert starts_of(groups).tolist() == expected
    assert places_by_group(groups).tolist() == (np.arange(len(groups)) - np.array(expected, dtype=int)).tolist()


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_order_within_groups_is_that_of_a_sort_by_group_and_value_with_ties_in_place(sizes):
    groups = groups_of(sizes)
    values = np.random.default_rng(3).integers(-5, 5, len(groups)) / 2.0
    values[::7] = np.inf
    assert order_within(groups, values).tolist() == np.lexsort((values, groups)).tolist()


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_the_best_first_are_ordered_by_row_score_and_item_whatever_their_order_was(sizes, dtype):
    rng = np.random.default_rng(4)
    rows = rng.permutation(groups_of(sizes)).astype(dtype)
    items = rng.permutation(len(rows)).astype(dtype)
    scores = rng.integers(0, 4, len(rows)) / 10.0
    assert order_best_first(rows, items, scores).tolist() == np.lexsort((items, -scores, rows)).tolist()


def test_ids_of_queries_may_be_too_large_for_a_key():
    rows = np.repeat([2_100_000_001, 2_200_000_001, 4_500_000_007_000_001], [40, 17, 33])
    rng = np.random.default_rng(6)
    items, scores = rng.permutation(len(rows)), rng.integers(0, 4, len(rows)) / 10.0
    assert order_best_first(rows, items, scores).tolist() == np.lexsort((items, -scores, rows)).tolist()
