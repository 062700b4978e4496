"""What the trainers minimise, each with its formula.

Names: B queries, N candidate items shared by the batch, K negatives of one query or places of a vector, P places for
targets, T targets.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor
from torch.autograd.function import once_differentiable

from training.gather import rows_of


def info_nce(target_BP: Tensor, negative_BK: Tensor, weight_BP: Tensor) -> Tensor:
    """Cross-entropy of each target against the query's own negatives, the weighted sum over targets.

    (van den Oord et al., 2018, arXiv 1807.03748.) target_BP, negative_BK: logits, that is similarity / temperature;
    -inf for a negative that is none. weight_BP: 0 for padding.
    """
    others_B = torch.logsumexp(negative_BK, dim=1)
    return (_loss_against(others_B[:, None], target_BP) * weight_BP).sum()


def shared_softmax(
    queries_BK: Tensor, items_NK: Tensor, target_BP: Tensor, weight_BP: Tensor, log_q_N: Tensor, masked_BN: Tensor
) -> Tensor:
    """Sampled softmax over candidates that the batch shares, the weighted sum over targets.

    For query b and target p, with logits s(b, j) = queries_b . items_j and the candidates C that are not masked for b:

        -s(b, p) + log( exp s(b, p) + sum over j in C, j != p, of exp(s(b, j) - log q(j)) )

    target_BP: position of each target among the N candidates; weight_BP: 0 for padding.
    log_q_N: log of the probability that the candidate is among the N. Subtracting it makes the sum an unbiased
    estimate of that over the catalogue (Yi et al., RecSys 2019). A target is there with certainty, so its own logit
    stays as it is (Khrylchenko et al., RecSys 2025, arXiv 2507.09331).
    masked_BN: candidates that are no negatives of a query: its targets and what else its customer bought.
    """
    corrected = torch.cat([queries_BK, -torch.ones_like(queries_BK[:, :1])], dim=1)
    others_B = log_sum_exp(corrected, torch.cat([items_NK, log_q_N[:, None]], dim=1), masked_BN)
    query_T, place_T = weight_BP.nonzero(as_tuple=True)
    target_T = (rows_of(queries_BK, query_T) * rows_of(items_NK, target_BP[query_T, place_T])).sum(dim=1)
    return (_loss_against(rows_of(others_B, query_T), target_T) * weight_BP[query_T, place_T]).sum()


def log_sum_exp(queries_BK: Tensor, items_NK: Tensor, masked_BN: Tensor) -> Tensor:
    """log of the sum over j of exp(queries_b . items_j) of the candidates that are not masked, (B,); -inf without any.

    In float32, also under autocast.
    """
    found: Tensor = _LogSumExp.apply(queries_BK.float(), items_NK.float(), masked_BN)  # type: ignore[no-untyped-call]
    return found


class _LogSumExp(torch.autograd.Function):
    """A step spends most of its time on (B, N): here one such tensor is made and then worked on in place.

    The gradient of the logits is their softmax, of which the products with items and queries are all that is wanted.
    """

    @staticmethod
    def forward(ctx: Any, queries_BK: Tensor, items_NK: Tensor, masked_BN: Tensor) -> Tensor:
        with torch.autocast(queries_BK.device.type, enabled=False):
            logits = (queries_BK @ items_NK.T).masked_fill_(masked_BN, -math.inf)
        largest = logits.amax(dim=1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
        odds = logits.sub_(largest).exp_()
        sums = odds.sum(dim=1)
        ctx.save_for_backward(queries_BK, items_NK, odds, sums)
        return largest[:, 0] + sums.log()

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        queries_BK, items_NK, odds, sums = ctx.saved_tensors
        of_sums = (gradients[0] / sums).where(sums > 0, 0.0)
        return (odds @ items_NK) * of_sums[:, None], odds.T @ (queries_BK * of_sums[:, None]), None


def _loss_against(others: Tensor, target: Tensor) -> Tensor:
    """log(exp(target) + exp(others)) - target, exact also where the loss is small."""
    return nnf.softplus(others - target)
