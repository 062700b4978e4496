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

    A period's counts are of the window that ends where the period begins, so no query sees its own day.
    device: where what is asked for lies.
    """

    starts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    counts: npt.NDArray[np.float32]
    num_items: int
    device: torch.device = _CPU
    _dense: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of_rows(
        cls,
        period: npt.NDArray[np.int64],
        items: npt.NDArray[np.int64],
        counts: npt.NDArray[np.float32],
        num_items: int,
        num_periods: int,
    ) -> RecentSales:
        """From one row per period and item, in any order."""
        order = np.lexsort((items, period))
        starts = np.searchsorted(period[order], np.arange(num_periods + 1))
        return cls(starts, items[order], counts[order], num_items)

    def to(self, device: torch.device) -> RecentSales:
        return replace(self, device=device, _dense={})

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
        """log(1 + count) of all items, (num_items + 1,)."""
        if period not in self._dense:
            if len(self._dense) >= _DENSE_KEPT:
                self._dense.pop(next(iter(self._dense)))
            values = torch.zeros(self.num_items + 1)
            if 0 <= period < self.num_periods:
                part = slice(int(self.starts[period]), int(self.starts[period + 1]))
                values[torch.from_numpy(self.items[part])] = torch.from_numpy(np.log1p(self.counts[part]))
            self._dense[period] = values.to(self.device)
        return self._dense[period]
