"""Sums, softmax and ranks over the rows of each query, which follow one another.

Names: N rows, Q queries. query_N: number of each row's query, ascending; some of 0..Q-1 may have no row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.gather import rows_of


def num_queries(query_N: Tensor) -> int:
    """Q, where the last query has a row."""
    return int(query_N[-1]) + 1 if len(query_N) else 0


def sums(values_N: Tensor, query_N: Tensor, queries: int) -> Tensor:
    """Sum over the rows of each query, (Q, ...)."""
    return values_N.new_zeros(queries, *values_N.shape[1:]).index_add(0, query_N, values_N)


def log_softmax(scores_N: Tensor, query_N: Tensor, queries: int) -> Tensor:
    """Log of the softmax over the rows of each query, (N,); exact for scores of any size."""
    largest_Q = scores_N.new_full((queries,), -torch.inf)
    largest_Q = largest_Q.scatter_reduce(0, query_N, scores_N.detach(), reduce="amax")
    shifted_N = scores_N - largest_Q[query_N]
    return shifted_N - rows_of(sums(shifted_N.exp(), query_N, queries).log(), query_N)


def z_scores(values_NF: Tensor, query_N: Tensor, queries: int, epsilon: float) -> Tensor:
    """(x - mean) / (standard deviation + epsilon) over the rows of each query, (N, F); 0 for a query of one row."""
    count_Q1 = sums(torch.ones_like(values_NF[:, :1]), query_N, queries).clamp_min(1)
    centred_NF = values_NF - (sums(values_NF, query_N, queries) / count_Q1)[query_N]
    deviation_QF = (sums(centred_NF.square(), query_N, queries) / count_Q1).sqrt()
    return centred_NF / (deviation_QF[query_N] + epsilon)


def places(query_N: Tensor, *keys_N: Tensor) -> Tensor:
    """The place of each row, from 0, among those of its query in ascending order of the keys, the first one first.

    >>> places(torch.tensor([0, 0, 0, 4]), torch.tensor([3., 1., 3., 9.]), torch.tensor([7, 8, 6, 5])).tolist()
    [2, 0, 1, 0]
    """
    order_N = torch.arange(len(query_N), device=query_N.device)
    for key_N in (*reversed(keys_N), query_N):
        order_N = order_N[key_N[order_N].argsort(stable=True)]
    found_N = torch.empty_like(order_N)
    found_N[order_N] = torch.arange(len(query_N), device=query_N.device)
    return found_N - torch.searchsorted(query_N, query_N)
