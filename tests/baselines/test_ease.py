"""EASE's weights: against the closed form, which of them stay, and what they take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import sparse

from recsys_spark.arrays import Floats, Ints
from recsys_spark.baselines import ease_solution
from recsys_spark.baselines.ease import _chosen_items
from recsys_spark.baselines.ease_solution import EaseSolution, solve
from recsys_spark.contracts.model_config import EaseConfig


def largest_weights(
    matrix: sparse.csr_matrix, l2: float, number: int, width: int
) -> Iterator[tuple[Ints, Ints, Floats, Ints]]:
    """Of all items, so many at a time, from the arrays that tasks hand to one another."""
    solution = EaseSolution.of_arrays(solve(matrix, l2).arrays())
    for start in range(0, matrix.shape[1], width):
        yield solution.largest_weights(np.arange(start, min(start + width, matrix.shape[1])), number)


@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (9, 9)])
def test_ease_weights_are_those_of_the_closed_form_in_either_dimension(shape, monkeypatch):
    monkeypatch.setattr(ease_solution, "_ROWS", 4)
    dense = (np.random.default_rng(3).random(shape) < 0.4).astype(float)
    inverse = np.linalg.inv(dense.T @ dense + 2.0 * np.eye(shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = np.zeros_like(expected)
    for targets, sources, weights, _ in largest_weights(sparse.csr_matrix(dense), 2.0, shape[1], width=5):
        found[sources, targets] = weights
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("shape", [(20, 4), (6, 20)])
def test_ease_keeps_the_largest_weights_of_each_item_by_size_and_ties_by_source(shape):
    one = (np.random.default_rng(5).random(shape) < 0.5).astype(float)
    matrix = sparse.csr_matrix(np.hstack([one, one]))  # every item has a twin, of the same weight for all others
    num_items = matrix.shape[1]
    [every] = largest_weights(matrix, 1.0, num_items, width=num_items)
    expected = []
    for target in range(num_items):
        own = sorted((-abs(w), s, w) for t, s, w, _ in zip(*every, strict=True) if t == target)
        expected += [(target, s, w, rank) for rank, (_, s, w) in enumerate(own[:3], start=1)]
    for width in (num_items, 3):
        found = [np.concatenate(column) for column in zip(*largest_weights(matrix, 1.0, 3, width), strict=True)]
        assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


def test_ease_beyond_its_rank_keeps_the_items_of_most_customers():
    users, items = np.array([1, 2, 3, 1, 2, 3, 1]), np.array([5, 5, 5, 2, 2, 4, 4])
    assert _chosen_items(users, items, EaseConfig(min_customers=2, max_rank=2)).tolist() == [2, 5]
    assert _chosen_items(users, items, EaseConfig(min_customers=2, max_rank=3)).tolist() == [2, 4, 5]
    assert _chosen_items(users, items, EaseConfig(min_customers=3)).tolist() == [5]


@pytest.mark.parametrize("shape", [(900, 600), (600, 900)])
def test_ease_takes_little_more_than_the_matrix_that_it_inverts(shape, monkeypatch):
    monkeypatch.setattr(ease_solution, "_ROWS", 16)
    matrix = sparse.random(*shape, density=0.02, format="csr", random_state=1)
    matrix.data[:] = 1.0
    tracemalloc.start()
    for _ in largest_weights(matrix, 2.0, 10, width=8):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * 8 * min(shape) ** 2
