"""Losses against references written with loops, and the sign of the logQ correction."""

from __future__ import annotations

import math

import pyarrow  # noqa: F401  before torch
import pytest
import torch

from training import losses, negatives

pytestmark = pytest.mark.torch


def random_case(seed: int = 0) -> dict[str, torch.Tensor]:
    """Four queries, nine candidates, three targets; the last target of the second query is padding."""
    made = torch.Generator().manual_seed(seed)
    target_BP = torch.tensor([[0, 3, 5], [1, 2, 0], [8, 7, 6], [4, 0, 1]])
    masked_BN = torch.zeros(4, 9, dtype=torch.bool).scatter(1, target_BP, True)
    masked_BN[2, 1] = True  # bought then, and no target
    weight_BP = torch.rand(4, 3, generator=made)
    weight_BP[1, 2] = 0
    return {
        "logits_BN": 3 * torch.randn(4, 9, generator=made),
        "target_BP": target_BP,
        "weight_BP": weight_BP,
        "log_q_N": -3 * torch.rand(9, generator=made),
        "masked_BN": masked_BN,
    }


def shared_softmax(logits_BN, target_BP, weight_BP, log_q_N, masked_BN) -> torch.Tensor:
    """The loss of logits: each query is a unit vector, so that its products with the items are one row of them."""
    unit = torch.eye(len(logits_BN))
    return losses.shared_softmax(unit, logits_BN.T, target_BP, weight_BP, log_q_N, masked_BN)


def slow_shared_softmax(logits_BN, target_BP, weight_BP, log_q_N, masked_BN) -> float:
    total = 0.0
    for b, targets in enumerate(target_BP.tolist()):
        for p, target in enumerate(targets):
            positive = math.exp(logits_BN[b, target])
            others = sum(
                math.exp(logits_BN[b, j]) / math.exp(log_q_N[j])
                for j in range(len(log_q_N))
                if j != target and not masked_BN[b, j]
            )
            total += float(weight_BP[b, p]) * -math.log(positive / (positive + others))
    return total


def slow_info_nce(target_BP, negative_BK, weight_BP) -> float:
    total = 0.0
    for b in range(len(target_BP)):
        for p in range(target_BP.shape[1]):
            positive = math.exp(target_BP[b, p])
            others = sum(math.exp(value) for value in negative_BK[b].tolist())
            total += float(weight_BP[b, p]) * -math.log(positive / (positive + others))
    return total


def test_the_shared_softmax_equals_a_loop_over_queries_targets_and_candidates():
    for seed in range(5):
        case = random_case(seed)
        assert float(shared_softmax(**case)) == pytest.approx(slow_shared_softmax(**case), rel=1e-5)


def test_info_nce_equals_a_loop_over_queries_targets_and_negatives():
    made = torch.Generator().manual_seed(1)
    target, negative = 3 * torch.randn(5, 2, generator=made), 3 * torch.randn(5, 4, generator=made)
    weight = torch.rand(5, 2, generator=made)
    negative[0, 1] = negative[3, 3] = -math.inf  # no negative
    found = float(losses.info_nce(target, negative, weight))
    assert found == pytest.approx(slow_info_nce(target, negative, weight), rel=1e-5)


def test_info_nce_with_one_target_each_is_the_cross_entropy_of_the_first_class():
    made = torch.Generator().manual_seed(2)
    target, negative = torch.randn(6, 1, generator=made), torch.randn(6, 3, generator=made)
    expected = torch.nn.functional.cross_entropy(torch.cat([target, negative], dim=1), torch.zeros(6, dtype=torch.long))
    assert float(losses.info_nce(target, negative, torch.ones(6, 1))) / 6 == pytest.approx(float(expected), rel=1e-6)


def denominators(sign: float) -> tuple[float, float]:
    """Mean over many draws of candidates of the denominator that the loss works with, and that of the whole catalogue.

    Twelve items of unequal popularity; five draws by popularity and three uniform ones at a time.
    """
    num_items, in_batch, uniform, num_draws, target = 12, 5, 3, 4000, 4
    made = torch.Generator().manual_seed(3)
    share = torch.tensor([0.3, 0.2, 0.15, 0.1, 0.05, 0.05, 0.05, 0.03, 0.03, 0.02, 0.01, 0.01])
    logits = torch.linspace(1.5, -1.5, num_items)[None]  # popular items score higher, as in practice
    drawn = torch.cat(
        [
            torch.multinomial(share.expand(num_draws, -1), in_batch, replacement=True, generator=made),
            torch.randint(0, num_items, (num_draws, uniform), generator=made),
        ],
        dim=1,
    )
    log_q = sign * negatives.log_inclusion(share, in_batch, uniform, num_items)
    total = 0.0
    for items in drawn:
        masked = torch.ones(1, num_items, dtype=torch.bool)
        masked[0, items] = False
        masked[0, target] = True
        loss = shared_softmax(logits, torch.tensor([[target]]), torch.ones(1, 1), log_q, masked)
        total += math.exp(float(loss) + float(logits[0, target]))
    return total / num_draws, float(logits.exp().sum())


def test_with_log_q_subtracted_the_sampled_denominator_is_that_of_the_whole_catalogue():
    sampled, whole = denominators(sign=1.0)
    assert sampled == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_without_log_q_or_with_the_wrong_sign_the_denominator_is_too_small(sign):
    sampled, whole = denominators(sign)
    assert sampled < 0.8 * whole


def test_the_log_of_sums_and_its_gradient_equal_those_of_all_logits():
    made = torch.Generator().manual_seed(4)
    queries, items = (torch.randn(size, 3, generator=made).requires_grad_() for size in (5, 8))
    masked = torch.rand(5, 8, generator=made) < 0.4
    masked[2] = True
    weight = torch.randn(5, generator=made)
    found = losses.log_sum_exp(queries, items, masked)
    expected = (queries @ items.T).masked_fill(masked, -math.inf).logsumexp(dim=1)
    assert found[2] == -math.inf
    assert torch.allclose(found, expected, rtol=1e-5)
    some = torch.tensor([0, 1, 3, 4])
    gradients = [torch.autograd.grad((value * weight)[some].sum(), (queries, items)) for value in (found, expected)]
    for own, others in zip(*gradients, strict=True):
        assert bool(own.isfinite().all())
        assert torch.allclose(own, others, atol=1e-5)


def test_masked_candidates_and_padded_targets_have_no_influence():
    case = random_case()
    logits = case["logits_BN"].clone().requires_grad_()
    loss = shared_softmax(**{**case, "logits_BN": logits})
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[2, 1] == 0  # masked, and no target
    case["logits_BN"][2, 1] = 50.0
    case["target_BP"][1, 2] = 8  # padding
    assert float(shared_softmax(**case)) == pytest.approx(loss.item(), rel=1e-6)


def test_a_query_with_every_candidate_masked_costs_nothing_and_leaves_gradients_whole():
    logits = torch.randn(2, 3, requires_grad=True)
    masked = torch.tensor([[True, True, True], [True, False, False]])
    loss = shared_softmax(logits, torch.tensor([[0], [0]]), torch.ones(2, 1), torch.zeros(3), masked)
    loss.backward()
    alone = shared_softmax(logits[1:], torch.tensor([[0]]), torch.ones(1, 1), torch.zeros(3), masked[1:])
    assert loss.item() == pytest.approx(alone.item())
    assert logits.grad is not None
    assert bool((logits.grad[0] == 0).all())
    assert bool(logits.grad.isfinite().all())


def test_a_query_without_negatives_costs_nothing_and_leaves_gradients_whole():
    negative = torch.randn(2, 3, requires_grad=True)
    target = torch.randn(2, 1, requires_grad=True)
    none = torch.tensor([[True], [False]]).expand(2, 3)
    losses.info_nce(target, negative.masked_fill(none, -math.inf), torch.ones(2, 1)).backward()
    for gradient in (negative.grad, target.grad):
        assert gradient is not None
        assert bool((gradient[0] == 0).all())
        assert bool(gradient.isfinite().all())


def test_a_batch_without_targets_has_loss_zero_and_gradient_zero():
    case = random_case()
    logits = case["logits_BN"].requires_grad_()
    loss = shared_softmax(**{**case, "weight_BP": torch.zeros(4, 3)})
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert bool((logits.grad == 0).all())


def test_a_tiny_loss_keeps_its_digits():
    loss = losses.info_nce(torch.tensor([[10.0]]), torch.tensor([[-10.0]]), torch.ones(1, 1))
    assert float(loss) == pytest.approx(math.log1p(math.exp(-20)), rel=1e-5)
