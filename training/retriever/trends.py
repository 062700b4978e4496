"""How much of late sales each item has, as of the start of the period in which a query falls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_CPU = torch.device("cpu")
_DENSE_KEPT = 64  # periods; of a catalogue of five million items over a gigabyte


@dataclass
class RecentSales:
    """Sparse counts by period and item: those of period t are [starts[t], starts[t + 1]) of items and counts.

    A period's counts are of the window that ends where the period begins, so no query sees its own day; `before` are
    those of as many days before these.
    device: where what is asked for lies.
    """

    starts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    counts: npt.NDArray[np.float32]
    before: npt.NDArray[np.float32]
    num_items: int
    device: torch.device = _CPU
    _dense: dict[int, Tensor] = field(default_factory=dict, repr=False)
    _inputs: dict[int, Tensor] = field(default_factory=dict, repr=False)

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
        """From one row per period and item, in any order."""
        order = np.lexsort((items, period))
        starts = np.searchsorted(period[order], np.arange(num_periods + 1))
        earlier = np.zeros_like(counts) if before is None else before
        return cls(starts, items[order], counts[order], earlier[order], num_items)

    def to(self, device: torch.device) -> RecentSales:
        return replace(self, device=device, _dense={}, _inputs={})

    @property
    def num_periods(self) -> int:
        return len(self.starts) - 1

    def log_counts(self, period_B: Tensor, items: Tensor) -> Tensor:
        """log(1 + count) of items as of each query's period, (B, N). items: (N,) for all queries, or (B, N).

        The logarithm of the share up to a constant per period, which a softmax over items does not see.
        """
        periods, row_B = torch.unique(period_B, return_inverse=True)
        if items.ndim == 1:
            return torch.stack([self.of_period(period)[items] for period in periods.tolist()])[row_B]
        found = torch.zeros(items.shape, device=items.device)
        for row, period in enumerate(periods.tolist()):
            found[row_B == row] = self.of_period(period)[items[row_B == row]]
        return found

    def of_period(self, period: int) -> Tensor:
        """log(1 + count) of all items, (num_items + 1,); after the last period those of the last, as when serving."""
        period = min(period, self.num_periods - 1)
        if period not in self._dense:
            if len(self._dense) >= _DENSE_KEPT:
                self._dense.pop(next(iter(self._dense)))
            values = torch.zeros(self.num_items + 1)
            if 0 <= period < self.num_periods:
                part = slice(int(self.starts[period]), int(self.starts[period + 1]))
                values[torch.from_numpy(self.items[part])] = torch.from_numpy(np.log1p(self.counts[part]))
            self._dense[period] = values.to(self.device)
        return self._dense[period]

    def inputs(self, period: int) -> Tensor:
        """What the item tower is told as of a period, (num_items + 1, 2).

        log((1 + count) / (1 + mean count of what was sold)), the share but for a constant, and
        log((1 + count) / (1 + count in as many days before)), the trend.
        """
        period = min(period, self.num_periods - 1)
        if period not in self._inputs:
            if len(self._inputs) >= _DENSE_KEPT:
                self._inputs.pop(next(iter(self._inputs)))
            counts = np.zeros((self.num_items + 1, 2), dtype=np.float32)
            if 0 <= period < self.num_periods:
                part = slice(int(self.starts[period]), int(self.starts[period + 1]))
                counts[self.items[part]] = np.stack([self.counts[part], self.before[part]], axis=1)
            sold = counts[:, 0][counts[:, 0] > 0]
            logs, typical = np.log1p(counts), np.log1p(sold.mean() if len(sold) else 0.0)
            values = np.stack([logs[:, 0] - typical, logs[:, 0] - logs[:, 1]], axis=1).astype(np.float32)
            self._inputs[period] = torch.from_numpy(values).to(self.device)
        return self._inputs[period]
