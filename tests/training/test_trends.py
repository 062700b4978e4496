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
    assert torch.allclose(sales.log_counts(torch.arange(3)[:, None], torch.arange(4)), expected)
    assert torch.equal(sales.latest(), expected[2])
    assert bool((sales.log_counts(torch.tensor([[-1]]), torch.arange(4)) == 0).all())  # none is known
    later = RecentSales.of_rows(period, items, counts, num_items=3, num_periods=2).log_counts(
        torch.tensor([[9]]), torch.arange(4)
    )
    assert torch.allclose(later[0], expected[1])  # what serving would look at
    periods = torch.tensor([1, 0, 1, 2])
    assert torch.allclose(sales.log_counts(periods[:, None], torch.tensor([3, 1])), expected[periods][:, [3, 1]])
    own = torch.tensor([[1, 2], [3, 3], [0, 1], [1, 1]])
    assert torch.allclose(sales.log_counts(periods[:, None], own), expected[periods].gather(1, own))


def test_what_items_are_told_is_their_share_and_their_trend_as_of_the_period():
    rows = np.array([0, 1, 1]), np.array([2, 3, 1]), np.array([4, 7, 1], dtype=np.float32)
    sales = RecentSales.of_rows(*rows, num_items=3, num_periods=2, before=np.array([1, 0, 3], dtype=np.float32))
    expected = [[[0, 0], [0, 0], [4, 1], [0, 0]], [[0, 0], [1, 3], [0, 0], [7, 0]]]
    for period, (counts, typical) in enumerate(zip(expected, (4, (7 + 1) / 2), strict=True)):
        by_hand = [[math.log((1 + now) / (1 + typical)), math.log((1 + now) / (1 + then))] for now, then in counts]
        assert torch.allclose(sales.inputs(period, torch.arange(4)), torch.tensor(by_hand))


def test_an_item_that_no_period_has_sold_is_told_nothing_and_no_sales_at_all_are_none():
    nothing = RecentSales.of_rows(*(np.array([], dtype=kind) for kind in (np.int64, np.int64, np.float32)), 3, 2)
    assert nothing.log_counts(torch.tensor([[0], [5]]), torch.tensor([[1, 2], [3, 0]])).tolist() == [[0, 0], [0, 0]]
    assert nothing.inputs(1, torch.tensor([2])).tolist() == [[0, 0]]
