"""What the trainers minimise, each with its formula.

Names: B queries, N candidate items shared by the batch, K negatives of one query, P places for targets.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor


def info_nce(target_BP: Tensor, negative_BK: Tensor, weight_BP: Tensor) -> Tensor:
    """Cross-entropy of each target against the query's own negatives, the weighted mean over targets.

    (van den Oord et al., 2018, arXiv 1807.03748.) target_BP, negative_BK: logits, that is similarity / temperature;
    -inf for a negative that is none. weight_BP: 0 for padding.
    """
    others_B = torch.logsumexp(negative_BK, dim=1)
    return _weighted_mean(_loss_against(others_B, target_BP), weight_BP)


def shared_softmax(
    logits_BN: Tensor, target_BP: Tensor, weight_BP: Tensor, log_q_N: Tensor, masked_BN: Tensor
) -> Tensor:
    """Sampled softmax over candidates that the batch shares, the weighted mean over targets.

    For query b and target p, with the candidates C that are not masked for b:

        -s(b, p) + log( exp s(b, p) + sum over j in C, j != p, of exp(s(b, j) - log q(j)) )

    target_BP: position of each target among the N candidates; weight_BP: 0 for padding.
    log_q_N: log of the probability that the candidate is among the N. Subtracting it makes the sum an unbiased
    estimate of that over the catalogue (Yi et al., RecSys 2019). A target is there with certainty, so its own logit
    stays as it is (Khrylchenko et al., RecSys 2025, arXiv 2507.09331).
    masked_BN: candidates that are no negatives of a query: its targets and what else its customer bought.
    """
    others_BN = (logits_BN - log_q_N).masked_fill(masked_BN, -math.inf)
    return _weighted_mean(_loss_against(others_BN.logsumexp(dim=1), logits_BN.gather(1, target_BP)), weight_BP)


def _loss_against(others_B: Tensor, target_BP: Tensor) -> Tensor:
    """log(exp(target) + exp(others)) - target, exact also where the loss is small."""
    return nnf.softplus(others_B[:, None] - target_BP)


def _weighted_mean(loss_BP: Tensor, weight_BP: Tensor) -> Tensor:
    """Zero where all weights are."""
    return (loss_BP * weight_BP).sum() / weight_BP.sum().clamp_min(torch.finfo(weight_BP.dtype).tiny)
