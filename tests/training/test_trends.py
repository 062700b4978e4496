"""What is told of late sales, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pyarrow  # noqa: F401  before torch
import pytest
import torch

from training.retriever.trends import RecentSales

pytestmark = pytest.mark.torch


def test_recent_sales_are_the_logarithm_of_counts_by_period_whatever_the_order_of_rows():
    period, items, counts = np.array([1, 0, 1]), np.array([2, 3, 1]), np.array([4, 7, 1], dtype=np.float32)
    sales = RecentSales.of_rows(period, items, counts, num_items=3, num_periods=3)
    expected = torch.tensor([[0, 0, 0, 7], [0, 1, 4, 0], [0, 0, 0, 0]]).log1p()
    assert torch.allclose(torch.stack([sales.of_period(number) for number in range(3)]), expected)
    assert bool((sales.of_period(-1) == 0).all())  # none is known
    assert torch.equal(sales.of_period(9), sales.of_period(2))  # later ones look at what serving would look at
    periods = torch.tensor([1, 0, 1, 2])
    assert torch.allclose(sales.log_counts(periods, torch.tensor([3, 1])), expected[periods][:, [3, 1]])
    own = torch.tensor([[1, 2], [3, 3], [0, 1], [1, 1]])
    assert torch.allclose(sales.log_counts(periods, own), expected[periods].gather(1, own))


def test_what_items_are_told_is_their_share_and_their_trend_as_of_the_period():
    rows = np.array([0, 1, 1]), np.array([2, 3, 1]), np.array([4, 7, 1], dtype=np.float32)
    sales = RecentSales.of_rows(*rows, num_items=3, num_periods=2, before=np.array([1, 0, 3], dtype=np.float32))
    expected = [[[0, 0], [0, 0], [4, 1], [0, 0]], [[0, 0], [1, 3], [0, 0], [7, 0]]]
    for period, (counts, typical) in enumerate(zip(expected, (4, (7 + 1) / 2), strict=True)):
        by_hand = [[math.log((1 + now) / (1 + typical)), math.log((1 + now) / (1 + then))] for now, then in counts]
        assert torch.allclose(sales.inputs(period), torch.tensor(by_hand))
