"""The ranker's loss of a batch, and its metrics on the dev slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsys_spark.contracts.ranker_file import HEADS
from training.process_group import Group
from training.ranker.batches import RankerBatch
from training.ranker.losses import hard_negatives, listwise, pointwise
from training.ranker.metrics import dev_metrics, rows_of_head
from training.ranker.segments import num_queries


@dataclass(frozen=True)
class ObjectiveOptions:
    """form: `listwise` or `bce`. negatives_per_positive: that `bce` keeps of a query, 0 for all.

    dropped: places of the features that a share of the rows, drop_share, does without.
    """

    form: str = "listwise"
    negatives_per_positive: int = 0
    dropped: tuple[int, ...] = ()
    drop_share: float = 0.0


class RankerTask:
    """What the loop trains; also an ensemble, to be evaluated. dev: this rank's batches of whole dev queries."""

    def __init__(
        self,
        model: nn.Module,
        options: ObjectiveOptions,
        group: Group,
        dev: Callable[[], Iterable[RankerBatch]] | None = None,
    ) -> None:
        self.model, self.options, self.group, self.dev = model, options, group, dev

    def loss(self, batch: RankerBatch, step: int) -> Tensor:  # noqa: ARG002  the loop's seed follows from it
        """A rank's part of a global step: the sum over heads, each the mean over the weights of all ranks.

        What is drawn follows from torch's seed, which the loop sets.
        """
        batch = batch.to(self.group.device)
        scores_NH = self.model(batch.features, batch.query, self._dropped(batch)).float()
        queries = num_queries(batch.query)
        sums, weights = zip(
            *(self._of_head(batch, scores_NH[:, place], head, queries) for place, head in enumerate(HEADS)),
            strict=True,
        )
        # The loop takes the mean over ranks, and a rank may have more weight than another.
        weight_H = self.group.sum(torch.stack(weights).detach()) / self.group.world_size
        return (torch.stack(sums) / weight_H.clamp_min(torch.finfo(weight_H.dtype).tiny)).sum()

    def _of_head(self, batch: RankerBatch, scores_N: Tensor, head: str, queries: int) -> tuple[Tensor, Tensor]:
        rows = rows_of_head(batch, head)
        scores_N, label_N, query_N = scores_N[rows], batch.label[rows], batch.query[rows]
        if self.options.form == "listwise":
            return listwise(scores_N, label_N, query_N, queries)
        per_positive = self.options.negatives_per_positive
        is_kept_N = torch.ones_like(query_N, dtype=torch.bool)
        if per_positive:
            is_kept_N = hard_negatives(scores_N.detach(), label_N, query_N, queries, per_positive)
        return pointwise(scores_N, label_N, is_kept_N)

    def _dropped(self, batch: RankerBatch) -> Tensor | None:
        """Which features each row does without, (N, F)."""
        if not self.options.drop_share:
            return None
        dropped_NF = torch.zeros_like(batch.features, dtype=torch.bool)
        is_without_N = torch.rand(len(batch), device=self.group.device) < self.options.drop_share
        dropped_NF[:, list(self.options.dropped)] = is_without_N[:, None]
        return dropped_NF

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Metrics of `dev_metrics`; empty where there is no dev slice."""
        if self.dev is None:
            return {}
        moved = (batch.to(self.group.device) for batch in self.dev())
        return dev_metrics(((batch, self.model(batch.features, batch.query).float()) for batch in moved), self.group)
