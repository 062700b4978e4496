"""How much of late sales each item has, as of the start of the period in which a query falls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import Tensor


@dataclass(frozen=True)
class RecentSales:
    """Counts by period and item, one after the other: memory follows what was sold, not periods x items.

    A period's counts are of the window that ends where the period begins, so no query sees its own day.

    keys: period x (num_items + 1) + item, ascending, and one behind all that are asked for, (R,). logs: log(1 + count)
    of the window and of as many days before it, (R, 2). typical: log(1 + mean count of what was sold), (num_periods,).
    """

    keys: Tensor
    logs: Tensor
    typical: Tensor
    num_items: int

    @classmethod
    def of_rows(
        cls,
        period: npt.NDArray[np.int64],
        items: npt.NDArray[np.int64],
        counts: npt.NDArray[np.float32],
        num_items: int,
        num_periods: int,
        before: npt.NDArray[np.float32] | None = None,
    ) -> RecentSales:
        """From one row per period and item, in any order; those of later periods are left out."""
        earlier = np.zeros_like(counts) if before is None else before
        is_sold = (period < num_periods) & (counts > 0)
        sums, sold = (np.bincount(period[is_sold], weights, num_periods) for weights in (counts[is_sold], None))
        keys = period * (num_items + 1) + items
        order = np.argsort(keys)[: int((period < num_periods).sum())]
        logs = np.log1p(np.stack([counts, earlier], axis=1)[order]).astype(np.float32)
        typical = np.log1p(sums / np.maximum(sold, 1)).astype(np.float32)
        return cls(
            torch.from_numpy(np.append(keys[order], num_periods * (num_items + 1))),
            torch.from_numpy(np.append(logs, np.zeros((1, 2), np.float32), axis=0)),
            torch.from_numpy(typical),
            num_items,
        )

    def to(self, device: torch.device) -> RecentSales:
        return replace(self, keys=self.keys.to(device), logs=self.logs.to(device), typical=self.typical.to(device))

    @property
    def num_periods(self) -> int:
        return len(self.typical)

    def log_counts(self, period: Tensor, items: Tensor) -> Tensor:
        """log(1 + count) of items as of periods, of shapes that go together, (...).

        The logarithm of the share up to a constant per period, which a softmax over items does not see.
        """
        return self._logs(period, items)[..., 0]

    def latest(self) -> Tensor:
        """log(1 + count) of all items in the last period, as when serving, (num_items + 1,)."""
        return self._logs(self.num_periods - 1, torch.arange(self.num_items + 1, device=self.keys.device))[:, 0]

    def inputs(self, period: int, items_M: Tensor) -> Tensor:
        """What the item tower is told of items as of a period, (M, 2).

        log((1 + count) / (1 + mean count of what was sold)), the share but for a constant, and
        log((1 + count) / (1 + count in as many days before)), the trend.
        """
        logs_M2 = self._logs(period, items_M)
        typical = self.typical[min(period, self.num_periods - 1)] if period >= 0 else 0.0
        return torch.stack([logs_M2[:, 0] - typical, logs_M2[:, 0] - logs_M2[:, 1]], dim=1)

    def _logs(self, period: Tensor | int, items: Tensor) -> Tensor:
        """The logs of items as of periods, of shapes that go together, (..., 2). Zero where nothing was sold.

        After the last period those of the last, as when serving.
        """
        latest = self.num_periods - 1
        known = min(period, latest) if isinstance(period, int) else period.clamp_max(latest)
        wanted = known * (self.num_items + 1) + items
        place = torch.searchsorted(self.keys, wanted)
        return self.logs[place] * (self.keys[place] == wanted)[..., None]
