"""Which items a query is held against: samplers, the odds of their draws, and masks for false negatives.

Every draw follows from (seed, step) alone, so that a resumed run and any number of ranks draw the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recsys_spark.contracts.columns import PAD_IDX


def generator(seed: int, step: int, purpose: int = 0) -> torch.Generator:
    """A generator that follows from its arguments."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 16 + purpose)


def uniform_items(num_draws: int, num_items: int, drawn_by: torch.Generator) -> Tensor:
    """Item indices 1..num_items, drawn with replacement, (num_draws,)."""
    return torch.randint(1, num_items + 1, (num_draws,), generator=drawn_by)


def own_negatives(history_BL: Tensor, positives_BP: Tensor, uniform_BK: Tensor, num_items: int) -> Tensor:
    """For each query its own negatives, uniform over the items outside its history and positives, (B, K).

    uniform_BK: float64 draws from [0, 1); u stands for the item at place floor(u x their number) among those outside.
    PAD_IDX where a query knows every item.
    """
    known_BW, _ = torch.cat([history_BL, positives_BP], dim=1).sort(dim=1)
    is_new = known_BW != PAD_IDX
    is_new[:, 1:] &= known_BW[:, 1:] != known_BW[:, :-1]
    known_BW, _ = known_BW.masked_fill(~is_new, num_items + 1).sort(dim=1)
    num_known = is_new.sum(dim=1, keepdim=True)
    order_W = torch.arange(known_BW.shape[1], device=known_BW.device)
    outside_before = (known_BW - 1 - order_W).where(order_W < num_known, num_items)  # of each known item
    num_outside = num_items - num_known
    place_BK = (uniform_BK * num_outside).long().minimum(num_outside - 1)
    negatives_BK = place_BK + 1 + torch.searchsorted(outside_before, place_BK, right=True)
    return negatives_BK.masked_fill(num_outside == 0, PAD_IDX)


def log_inclusion(share_N: Tensor, num_in_batch: int, num_uniform: int, num_items: int) -> Tensor:
    """Log of the probability that an item is among the candidates of a step, (N,).

    share_N: the item's share of the training targets, the odds of one in-batch draw. An item stays out where all
    in-batch and all uniform draws miss it.
    """
    missed = num_in_batch * torch.log1p(-share_N.double().clamp_max(1 - 1e-9))
    missed = missed + num_uniform * math.log1p(-1 / max(num_items, 2))
    return torch.log(-torch.expm1(missed)).clamp_min(-60.0).float()


def masked_candidates(candidates_N: Tensor, user_B: Tensor, user_R1: Tensor, positives_RP: Tensor) -> Tensor:
    """The candidates that a query's customer bought in any row of the global batch, so no negatives of it, (B, N).

    candidates_N is sorted. user_R1, positives_RP: of the rows of all ranks. A basket may lie in several rows, and each
    of its items would be held against the others.
    """
    users_U, row_B = torch.unique(user_B, return_inverse=True)
    user_R1, positives_RP = user_R1.contiguous(), positives_RP.contiguous()
    user = torch.searchsorted(users_U, user_R1).clamp_max(len(users_U) - 1)
    place = torch.searchsorted(candidates_N, positives_RP).clamp_max(len(candidates_N) - 1)
    is_own = (users_U[user] == user_R1) & (candidates_N[place] == positives_RP)
    row, column = is_own.nonzero(as_tuple=True)
    masked_UN = torch.zeros(len(users_U), len(candidates_N), dtype=torch.bool, device=candidates_N.device)
    masked_UN[user[row, 0], place[row, column]] = True
    return masked_UN[row_B]
