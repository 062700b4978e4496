"""What the ranker minimises, each with its formula; as a sum over a batch and the weight that it is of.

Names: N candidates, Q queries. query_N: number of each candidate's query, ascending.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

from training.ranker.segments import log_softmax, places, sums


def listwise(scores_N: Tensor, label_N: Tensor, query_N: Tensor, queries: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy between a query's P positives and the softmax over its candidates; its sum and weight.

        -1/P x sum over positives i of log( exp s(i) / sum over candidates j of exp s(j) )

    (Cao et al., ICML 2007, ListNet's top one.) A query weighs sqrt(P): a basket of many items says more than one of
    few, but each further item less than the one before. One without positives weighs nothing.
    """
    weight_Q = sums(label_N, query_N, queries).sqrt()
    share_N = label_N / weight_Q.clamp_min(1)[query_N]  # sqrt(P) x 1/P
    return -(share_N * log_softmax(scores_N, query_N, queries)).sum(), weight_Q.sum()


def pointwise(scores_N: Tensor, label_N: Tensor, is_kept_N: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy with logits of the candidates that are kept; its sum and their number."""
    loss_N = nnf.binary_cross_entropy_with_logits(scores_N, label_N, reduction="none")
    return (loss_N * is_kept_N).sum(), is_kept_N.to(scores_N.dtype).sum()


def hard_negatives(scores_N: Tensor, label_N: Tensor, query_N: Tensor, queries: int, per_positive: int) -> Tensor:
    """Which candidates to keep, (N,): the positives, and for each of a query's as many of its negatives.

    Half of the negatives, rounded up, are those that the model scores highest; the others are drawn from the rest.
    The highest alone would leave nothing to hold down the scores of the others. A query without positives keeps none.
    """
    is_negative_N = label_N <= 0
    wanted_Q = per_positive * sums((~is_negative_N).long(), query_N, queries)
    num_hard_Q = (wanted_Q + 1) // 2
    is_hard_N = is_negative_N & (places(query_N, (~is_negative_N).long(), -scores_N) < num_hard_Q[query_N])
    is_other_N = is_negative_N & ~is_hard_N
    draws_N = torch.rand(len(scores_N), device=scores_N.device)
    is_drawn_N = is_other_N & (places(query_N, (~is_other_N).long(), draws_N) < (wanted_Q - num_hard_Q)[query_N])
    return ~is_negative_N | is_hard_N | is_drawn_N
