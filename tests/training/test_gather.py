"""Gradients that are the same each time, to the last bit."""

from __future__ import annotations

import pyarrow  # noqa: F401  before torch
import pytest
import torch

from training import losses
from training.gather import rows_of
from training.ranker.segments import log_softmax

pytestmark = pytest.mark.torch
REPETITIONS = 12


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(50,), (50, 24)], ids=["numbers", "vectors"])
def test_rows_and_their_gradient_are_those_of_indexing(shape):
    made = torch.Generator().manual_seed(1)
    values = torch.randn(shape, dtype=torch.float64, generator=made)
    index = torch.randint(0, 50, (30, 9), generator=made)
    weights = torch.randn(30, 9, *shape[1:], dtype=torch.float64, generator=made)
    found = []
    for take in (rows_of, lambda values, index: values[index]):
        given = values.clone().requires_grad_()
        taken = take(given, index)
        (taken * weights).sum().backward()
        found.append((taken.detach(), given.grad))
    for ours, own in zip(*found, strict=True):
        torch.testing.assert_close(ours, own)


def test_the_loss_of_towers_has_one_gradient():
    """Of as many targets as a batch has: there PyTorch adds up on all threads."""
    made = torch.Generator().manual_seed(2)
    queries, items = torch.randn(512, 64, generator=made), torch.randn(2000, 64, generator=made)
    targets, weights = torch.randint(0, 40, (512, 30), generator=made), torch.rand(512, 30, generator=made)
    others = torch.zeros(2000), torch.zeros(512, 2000, dtype=torch.bool)
    found = set()
    for _ in range(REPETITIONS):
        given = queries.clone().requires_grad_(), items.clone().requires_grad_()
        losses.shared_softmax(*given, targets, weights, *others).backward()
        found.add(b"".join(each.grad.numpy().tobytes() for each in given))
    assert len(found) == 1


def test_a_softmax_over_the_rows_of_queries_has_one_gradient():
    made = torch.Generator().manual_seed(3)
    scores, query = torch.randn(200_000, generator=made), torch.arange(200_000) // 5000
    found = set()
    for _ in range(REPETITIONS):
        given = scores.clone().requires_grad_()
        log_softmax(given, query, 40).square().sum().backward()
        found.add(given.grad.numpy().tobytes())
    assert len(found) == 1
