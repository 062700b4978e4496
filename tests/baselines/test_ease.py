"""EASE's weights: against the closed form, which of them stay, and what they take."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from recsys_spark.baselines import ease
from recsys_spark.baselines.ease import _chosen_items, ease_weights
from recsys_spark.contracts.model_config import EaseConfig


@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (9, 9)])
def test_ease_weights_are_those_of_the_closed_form_in_either_dimension(shape, monkeypatch):
    monkeypatch.setattr(ease, "_BLOCK_BYTES", 8 * shape[1] * 5)  # five columns at a time
    monkeypatch.setattr(ease, "_ROWS", 4)
    dense = (np.random.default_rng(3).random(shape) < 0.4).astype(float)
    inverse = np.linalg.inv(dense.T @ dense + 2.0 * np.eye(shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = np.zeros_like(expected)
    for targets, sources, weights, _ in ease_weights(sparse.csr_matrix(dense), 2.0, shape[1]):
        found[sources, targets] = weights
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_ease_keeps_the_largest_weights_of_each_item_by_size():
    dense = (np.random.default_rng(5).random((20, 8)) < 0.5).astype(float)
    every = {(t, s): w for t, s, w, _ in zip(*next(ease_weights(sparse.csr_matrix(dense), 1.0, 8)), strict=True)}
    targets, sources, weights, ranks = next(ease_weights(sparse.csr_matrix(dense), 1.0, 2))
    for target in range(8):
        sizes = sorted((-abs(weight) for (t, _), weight in every.items() if t == target))
        assert (-np.abs(weights[targets == target])).tolist() == sizes[:2]
    assert sorted(ranks.tolist()) == [1] * 8 + [2] * 8
    assert len(sources) == 16


def test_ease_beyond_its_rank_keeps_the_items_of_most_customers():
    users, items = np.array([1, 2, 3, 1, 2, 3, 1]), np.array([5, 5, 5, 2, 2, 4, 4])
    assert _chosen_items(users, items, EaseConfig(min_customers=2, max_rank=2)).tolist() == [2, 5]
    assert _chosen_items(users, items, EaseConfig(min_customers=2, max_rank=3)).tolist() == [2, 4, 5]
    assert _chosen_items(users, items, EaseConfig(min_customers=3)).tolist() == [5]


@pytest.mark.parametrize("shape", [(900, 600), (600, 900)])
def test_ease_takes_little_more_than_the_matrix_that_it_inverts(shape, monkeypatch):
    monkeypatch.setattr(ease, "_BLOCK_BYTES", 8 * shape[1] * 8)
    monkeypatch.setattr(ease, "_ROWS", 16)
    matrix = sparse.random(*shape, density=0.02, format="csr", random_state=1)
    matrix.data[:] = 1.0
    tracemalloc.start()
    for _ in ease_weights(matrix, 2.0, 10):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * 8 * min(shape) ** 2
