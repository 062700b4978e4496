"""How well scores order the candidates of dev queries, per positive; positives that are no candidates do not count."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from recsys_spark.contracts.ranker_file import HEADS
from training.process_group import Group
from training.ranker.batches import RankerBatch
from training.ranker.segments import places

K = 20
JUDGED_BY = f"ndcg@{K}"  # ends training: Recall@20 stands still where queries have few candidates


def rows_of_head(batch: RankerBatch, head: str) -> Tensor:
    """The candidates that a head orders, (N,): `first` only those that are new to the customer."""
    return torch.ones_like(batch.is_repeat) if head == "all" else ~batch.is_repeat


def dev_metrics(scored: Iterable[tuple[RankerBatch, Tensor]], group: Group) -> dict[str, float]:
    """Recall@20 and NDCG@20 of the positives of all ranks, for each head and as the mean of both.

    A rank counts from 1 among the candidates of the head, by descending score, then by item_idx; Recall is 1 up to
    rank 20, NDCG 1/log2(1 + rank). scored: whole queries with scores, (N, 2). Empty where there is no positive.
    """
    totals = torch.zeros(len(HEADS), 3, dtype=torch.float64, device=group.device)
    for batch, scores in scored:
        for place, head in enumerate(HEADS):
            rows = rows_of_head(batch, head)
            kept = (part[rows] for part in (batch.label, batch.query, batch.item))
            totals[place] += _of_positives(scores[rows, place], *kept)
    found: dict[str, float] = {}
    for head, (hits, gains, positives) in zip(HEADS, group.sum(totals).tolist(), strict=True):
        if positives:
            found |= {f"recall@{K}_{head}": hits / positives, f"ndcg@{K}_{head}": gains / positives}
    return {**_means(found), **found}


def _of_positives(scores_N: Tensor, label_N: Tensor, query_N: Tensor, item_N: Tensor) -> Tensor:
    """Hits, gains and number of the positives, (3,)."""
    rank_N = places(query_N, -scores_N, item_N).double() + 1
    rank_P = rank_N[label_N > 0]
    is_hit_P = (rank_P <= K).double()
    return torch.stack([is_hit_P.sum(), (is_hit_P / torch.log2(1 + rank_P)).sum(), torch.ones_like(rank_P).sum()])


def _means(found: dict[str, float]) -> dict[str, float]:
    """Over the heads that have a positive."""
    kinds = (f"recall@{K}", f"ndcg@{K}")
    by_kind = {kind: [value for name, value in found.items() if name.startswith(kind)] for kind in kinds}
    return {kind: sum(values) / len(values) for kind, values in by_kind.items() if values}
