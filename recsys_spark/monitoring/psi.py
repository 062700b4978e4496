"""Population stability index of two histograms, its bins and its value where nothing moved.

PSI = sum over bins of (q - p) * ln(q / p), p and q the shares of the reference and of the current rows in a bin
(Siddiqi, Credit Risk Scorecards, 2006): the symmetrised Kullback-Leibler divergence. Two samples of one distribution,
n and m independent draws in B bins, have a PSI of about (1/n + 1/m) * chi2(B - 1) (Yurdakul and Naranjo, Journal of
Risk Model Validation 14(3), 2020), so of (B - 1) * (1/n + 1/m) in the mean and not of 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from recsys_spark.arrays import Floats, Ints

FLOOR = 1e-4  # share that an empty bin counts with: its logarithm would be infinite


@dataclass(frozen=True)
class Histogram:
    """Counts of values by key; keys ascend as the values do. missing: rows without a value."""

    keys: Ints
    counts: Ints
    missing: int = 0

    @property
    def total(self) -> int:
        """All rows."""
        return int(self.counts.sum()) + self.missing

    @property
    def missing_rate(self) -> float:
        """Share of the rows without a value."""
        return self.missing / self.total if self.total else 0.0


def quantile_edges(reference: Histogram, num_bins: int) -> Ints:
    """Upper keys, inclusive, of bins that hold about as many reference rows each; equal quantiles are one.

    The first edge lies below the smallest and the last at the largest value: what is outside has bins of its own.

    >>> quantile_edges(Histogram(np.array([1, 2, 3, 4]), np.array([5, 5, 5, 5])), num_bins=2).tolist()
    [0, 2, 4]
    """
    if not len(reference.keys):
        return np.empty(0, np.int64)
    reached = np.cumsum(reference.counts)
    wanted = reached[-1] * np.arange(1, num_bins) / num_bins
    inner = reference.keys[np.searchsorted(reached, wanted)]
    return np.unique(np.concatenate([[reference.keys[0] - 1], inner, [reference.keys[-1]]]))


def shares(histogram: Histogram, edges: Ints) -> Floats:
    """Share of the rows in each bin: up to each edge, beyond the last, and without a value.

    >>> shares(Histogram(np.array([1, 5]), np.array([2, 1]), missing=1), np.array([3])).tolist()
    [0.5, 0.25, 0.25]
    """
    binned = np.zeros(len(edges) + 2)
    np.add.at(binned, np.searchsorted(edges, histogram.keys), histogram.counts)
    binned[-1] = histogram.missing
    return binned / max(histogram.total, 1)


def psi(reference: Floats, current: Floats) -> float:
    """The index of two vectors of shares over the same bins.

    >>> round(psi(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 6)
    0.274653
    """
    p, q = np.maximum(reference, FLOOR), np.maximum(current, FLOOR)
    return float(((q - p) * np.log(q / p)).sum())


def null_bound(reference: Floats, current: Floats, n: int, m: int, level: float) -> float:
    """What the index of an unmoved distribution passes with a chance of `level` only.

    n, m: independent draws behind the shares. Rows of one query or one customer are alike, so draws are queries or
    customers, not rows. Bins that are empty on both sides do not count.

    >>> round(null_bound(np.full(10, 0.1), np.full(10, 0.1), n=1000, m=1000, level=0.5), 4)
    0.0167
    """
    bins = int(((reference > 0) | (current > 0)).sum())
    if bins < 2 or not n or not m:
        return 0.0
    return float(chi2.isf(level, bins - 1)) * (1 / n + 1 / m)


def count_shares(reference: Mapping[str, int], current: Mapping[str, int]) -> tuple[list[str], Floats, Floats]:
    """Names in order, and the shares of both sides; a name that one side lacks has 0 there."""
    names = sorted(reference.keys() | current.keys())
    sides = [np.array([side.get(name, 0) for name in names], dtype=float) for side in (reference, current)]
    first, second = (side / max(side.sum(), 1) for side in sides)
    return names, first, second
