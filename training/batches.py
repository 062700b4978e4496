"""What a training step gets: named tensors with their shapes, made from a reader's columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recsys_spark.contracts.columns import PAD_IDX


@dataclass(frozen=True)
class RetrieverBatch:
    """B queries with histories of L places (left-padded with 0) and P targets (right-padded with 0).

    As read, integers may be shorter than stated here; `to` makes them so.
    """

    user_idx: Tensor  # (B,) int64
    history: Tensor  # (B, L) int64
    history_days: Tensor  # (B, L) float32, days before the query
    positives: Tensor  # (B, P) int64
    is_repeat: Tensor  # (B, P) bool, the customer bought the target before
    period: Tensor  # (B,) int64, row of the recent shares that the query may know
    context: Tensor  # (B, C) int64, of contracts/context.py, 0 for none

    def __len__(self) -> int:
        return len(self.user_idx)

    @classmethod
    def of(cls, columns: Mapping[str, Tensor]) -> RetrieverBatch:
        """From a reader's columns of TOWER_EXAMPLES, not copied: what is pinned stays pinned."""
        return cls(**{name: columns[name] for name in RETRIEVER_COLUMNS})

    def to(self, device: torch.device) -> RetrieverBatch:
        """The same on a device, in the types stated."""
        moved = {name: getattr(self, name).to(device, non_blocking=True).to(kind) for name, kind in _TYPES.items()}
        return RetrieverBatch(**moved)

    def is_target(self, only_new: bool) -> Tensor:
        """Places of the basket that hold an item, or one that was never bought before, (B, P)."""
        is_filled = self.positives != PAD_IDX
        return is_filled & ~self.is_repeat if only_new else is_filled


_TYPES = {
    "user_idx": torch.long,
    "history": torch.long,
    "history_days": torch.float32,
    "positives": torch.long,
    "is_repeat": torch.bool,
    "period": torch.long,
    "context": torch.long,
}
RETRIEVER_COLUMNS = tuple(field.name for field in fields(RetrieverBatch))
