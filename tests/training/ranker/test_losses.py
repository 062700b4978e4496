"""Losses and what they are made of, against references written with loops."""

from __future__ import annotations

import math
from itertools import pairwise

import pyarrow  # noqa: F401  before torch
import pytest
import torch

from training.ranker import segments
from training.ranker.losses import hard_negatives, listwise, pointwise

pytestmark = pytest.mark.torch

SIZES = (5, 1, 7, 0, 3, 12)  # of queries: one alone, one without rows


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, labels and queries; some queries have no positive, some several."""
    made = torch.Generator().manual_seed(seed)
    query = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))
    scores = 5 * torch.randn(len(query), generator=made, dtype=torch.float64)
    labels = (torch.rand(len(query), generator=made) < 0.25).double()
    labels[query == 2] = 0
    return scores, labels, query


def rows_of(query: torch.Tensor) -> list[list[int]]:
    return [(query == number).nonzero()[:, 0].tolist() for number in range(len(SIZES))]


def slow_listwise(scores, labels, query) -> tuple[float, float]:
    total = weights = 0.0
    for rows in rows_of(query):
        positives = [row for row in rows if labels[row]]
        if not positives:
            continue
        denominator = sum(math.exp(scores[row]) for row in rows)
        loss = -sum(math.log(math.exp(scores[row]) / denominator) for row in positives) / len(positives)
        total += math.sqrt(len(positives)) * loss
        weights += math.sqrt(len(positives))
    return total, weights


@pytest.mark.parametrize("seed", range(4))
def test_the_listwise_loss_equals_a_loop_over_queries_and_candidates(seed):
    scores, labels, query = case(seed)
    total, weight = listwise(scores, labels, query, len(SIZES))
    assert (total.item(), weight.item()) == pytest.approx(slow_listwise(scores, labels, query), rel=1e-9)
    in_single, _ = listwise(scores.float(), labels.float(), query, len(SIZES))
    assert in_single.item() == pytest.approx(total.item(), rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_the_listwise_loss_is_exact_for_scores_of_any_size(shift):
    scores, labels, query = case(1)
    expected, _ = slow_listwise(scores, labels, query)
    found, _ = listwise(scores + shift, labels, query, len(SIZES))
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_without_positives_the_listwise_loss_and_its_gradient_are_zero():
    scores, labels, query = case(0)
    scores.requires_grad_()
    total, weight = listwise(scores, torch.zeros_like(labels), query, len(SIZES))
    total.backward()
    assert (total.item(), weight.item()) == (0, 0)
    assert scores.grad is not None
    assert bool((scores.grad == 0).all())


def test_the_gradient_of_the_listwise_loss_is_that_of_the_slow_one():
    scores, labels, query = case(3)
    scores.requires_grad_()
    torch.autograd.backward(listwise(scores, labels, query, len(SIZES))[0])
    step = 1e-5
    for row in range(0, len(scores), 5):
        moved = [scores.detach().clone() for _ in range(2)]
        moved[0][row] -= step
        moved[1][row] += step
        low, high = (slow_listwise(each, labels, query)[0] for each in moved)
        assert scores.grad[row].item() == pytest.approx((high - low) / (2 * step), abs=1e-6)


def test_the_pointwise_loss_equals_a_loop_over_the_candidates_kept():
    scores, labels, _ = case(2)
    is_kept = torch.arange(len(scores)) % 3 > 0
    expected = 0.0
    for score, label, kept in zip(scores.tolist(), labels.tolist(), is_kept.tolist(), strict=True):
        share = 1 / (1 + math.exp(-score))
        expected -= kept * (math.log(share) if label else math.log(1 - share))
    total, weight = pointwise(scores, labels, is_kept)
    assert total.item() == pytest.approx(expected, rel=1e-6)
    assert weight.item() == int(is_kept.sum())


@pytest.mark.parametrize("per_positive", [1, 2, 3, 50])
def test_of_each_query_the_hardest_negatives_and_as_many_others_are_kept(per_positive):
    for seed in range(4):
        scores, labels, query = case(seed)
        is_kept = hard_negatives(scores, labels, query, len(SIZES), per_positive)
        for rows in rows_of(query):
            positives = [row for row in rows if labels[row]]
            hardest_first = sorted((row for row in rows if not labels[row]), key=lambda row: -scores[row])
            wanted = min(per_positive * len(positives), len(hardest_first))
            kept = [row for row in hardest_first if is_kept[row]]
            assert len(kept) == wanted
            num_hard = min((per_positive * len(positives) + 1) // 2, wanted)
            assert kept[:num_hard] == hardest_first[:num_hard]
            assert all(is_kept[row] for row in positives)


def test_which_of_the_other_negatives_are_kept_follows_from_the_seed():
    scores, labels, query = case(0)
    found = []
    for seed in (1, 1, 2, 3, 4):
        torch.manual_seed(seed)
        found.append(tuple(hard_negatives(scores, labels, query, len(SIZES), 2).tolist()))
    assert found[0] == found[1]
    assert len(set(found)) > 1


def test_the_place_of_a_row_is_that_among_its_query_s_rows_by_each_key_in_turn():
    scores, _, query = case(0)
    coarse, item = (scores / 4).round(), torch.randperm(len(scores), generator=torch.Generator().manual_seed(5))
    found = segments.places(query, -coarse, item).tolist()
    for rows in rows_of(query):
        ordered = sorted(rows, key=lambda row: (-coarse[row].item(), item[row].item()))
        assert [found[row] for row in ordered] == list(range(len(rows)))


def test_z_scores_are_deviations_from_the_mean_of_the_query():
    query = torch.tensor([0, 0, 0, 1, 3, 3])
    values = torch.tensor([[1.0, 4.0], [2.0, 4.0], [3.0, 4.0], [9.0, 9.0], [-1.0, 0.0], [1.0, 2.0]])
    root = (2 / 3) ** 0.5
    expected = [[-1 / (root + 0.1), 0], [0, 0], [1 / (root + 0.1), 0], [0, 0], [-1 / 1.1, -1 / 1.1], [1 / 1.1, 1 / 1.1]]
    found = segments.z_scores(values, query, 4, epsilon=0.1)
    assert torch.allclose(found, torch.tensor(expected))


def test_an_empty_batch_has_no_queries_and_no_loss():
    scores, labels, query = (values[:0] for values in case(0))
    assert segments.num_queries(query) == 0
    assert [value.item() for value in listwise(scores, labels, query, 0)] == [0, 0]
    assert len(segments.places(query, scores)) == 0
    assert len(hard_negatives(scores, labels, query, 0, 2)) == 0


def test_queries_ascend_in_these_cases():
    for seed in range(4):
        assert all(before <= after for before, after in pairwise(case(seed)[2].tolist()))
