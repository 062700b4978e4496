"""Recall@K on the dev slice, by the vectors and trends that `export_towers` leaves."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import Tensor

from recsys_spark.contracts.columns import FIRST_PURCHASE, PAD_IDX
from training.batches import RetrieverBatch
from training.process_group import Group
from training.retriever.catalogue import ITEMS_PER_SLICE, Catalogue
from training.retriever.model import PooledHistory


@torch.no_grad()
def dev_recall(
    batches: Iterable[RetrieverBatch],
    catalogue: Catalogue,
    has_examples: Tensor | None,
    group: Group,
    protocol: str,
    k: tuple[int, ...],
) -> dict[str, float]:
    """Recall@K per target over the whole catalogue; empty where no rank has a target.

    has_examples: of each customer, (num_users + 1,); None for all. protocol: for first_purchase new items alone count,
    ranked without those of the history. That holds the newest events: an item last bought before them is offered again,
    as `is_repeat`, which knows all events, only says of targets that they are none.
    """
    served, latest = catalogue.served(), None if catalogue.sales is None else catalogue.sales.latest()
    only_new = protocol == FIRST_PURCHASE
    hits = torch.zeros(len(k), dtype=torch.float64, device=group.device)
    count = torch.zeros((), dtype=torch.float64, device=group.device)
    for read in batches:
        if len(read) == 0:
            continue
        batch = read.to(group.device)
        is_target = batch.is_target(only_new)
        users = _users(batch, catalogue, has_examples, served.looked_up)
        top = _top(batch, catalogue, users, served.ranked, latest, max(k), only_new)
        for place, size in enumerate(k):
            is_hit = (batch.positives[:, :, None] == top[:, None, :size]).any(dim=2)
            hits[place] += (is_hit & is_target).sum()
        count += is_target.sum()
    hits, count = group.sum(hits), group.sum(count)
    return {f"recall@{size}": float(sum_of_k / count) for size, sum_of_k in zip(k, hits, strict=True) if count > 0}


def _users(batch: RetrieverBatch, catalogue: Catalogue, has_examples: Tensor | None, looked_up: Tensor) -> Tensor:
    """Vectors of queries, (B, D), without the items and customers that the fit does not know; zero without any."""
    towers, user = catalogue.model.towers, batch.user_idx
    if has_examples is not None:
        user = user * has_examples[user]
    history = batch.history * catalogue.facts.is_known[batch.history]
    is_known = torch.zeros_like(user, dtype=torch.bool)
    if towers.shape.user_tower != "id":
        is_known |= history.any(dim=1)
    if towers.user_emb is not None:
        is_known |= user != PAD_IDX
    pooled = PooledHistory.of(history, batch.history_days)
    return towers.users(user, pooled, looked_up, batch.context) * is_known[:, None]


def _top(
    batch: RetrieverBatch,
    catalogue: Catalogue,
    users: Tensor,
    vectors: Tensor,
    latest: Tensor | None,
    size: int,
    only_new: bool,
) -> Tensor:
    """The best items of each query among those the fit has seen, (B, size); PAD_IDX where there are fewer."""
    closed = torch.zeros_like(vectors[:, 0]).masked_fill(~catalogue.facts.is_known, -torch.inf)
    scores, top = users.new_empty(len(batch), 0), batch.history[:, :0]
    for items in torch.arange(len(vectors), device=vectors.device).split(ITEMS_PER_SLICE):
        trend = None if latest is None else latest[None, items]
        queries, offered = catalogue.model.factors(users, vectors[items], trend, torch.zeros_like(batch.user_idx))
        found = torch.addmm(closed[items], queries, offered.T)
        if only_new:
            found = _without(found, items, batch.history)
        found, place = found.topk(min(size, len(items)), dim=1)
        scores, top = torch.cat([scores, found], dim=1), torch.cat([top, items[place]], dim=1)
        scores, place = scores.topk(min(size, scores.shape[1]), dim=1)
        top = top.gather(1, place)
    return top.masked_fill(scores == -torch.inf, PAD_IDX)


def _without(scores_BN: Tensor, items_N: Tensor, history_BL: Tensor) -> Tensor:
    """The scores of consecutive items with -inf for those of each query's history."""
    place = history_BL - items_N[0]
    row, column = ((place >= 0) & (place < len(items_N))).nonzero(as_tuple=True)
    return scores_BN.index_put((row, place[row, column]), scores_BN.new_tensor(-torch.inf))
