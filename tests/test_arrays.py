"""Orders and places within groups, held against NumPy's own sorts and against loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recsys_spark.arrays import order_best_first, order_within, places_by_group, starts_of
from recsys_spark.baselines.sparse_products import one_pass_product

SIZES = {
    "none": [],
    "of one": [1] * 50,
    "small": [3, 0, 1, 2] * 20,
    "large": [200, 1, 0, 500, 64],
    "one only": [300],
}
SHAPES = [(30, 40), (40, 25)]


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


@pytest.mark.parametrize("dtypes", [(np.float64, np.float64), (np.float32, np.float64), (np.float32, np.float32)])
def test_the_product_in_one_pass_is_that_of_dense_matrices(dtypes):
    rng = np.random.default_rng(5)
    dense = [
        (rng.random(shape) * (rng.random(shape) < 0.2)).astype(kind) for shape, kind in zip(SHAPES, dtypes, strict=True)
    ]
    dense[0][::3] = 0.0
    left, right = (sparse.csr_matrix(matrix) for matrix in dense)
    found = one_pass_product(left, right, np.diff(right.indptr))
    assert found.dtype == np.result_type(*dtypes)
    assert found.shape == (30, 25)
    assert np.allclose(found.toarray(), dense[0] @ dense[1])
    nothing = one_pass_product(left[:0], right, np.diff(right.indptr))
    assert nothing.shape == (0, 25)
