"""From the values of a statistic in every bootstrap replicate to intervals, differences and Holm's correction.

`replicates` is one-dimensional here: the statistic in each replicate, without the estimate itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05  # intervals cover the truth in 1 - ALPHA of all samples
Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """A paired difference to a reference. p_value is two-sided; `holm` marks what is corrected for many models."""

    estimate: float
    interval: Interval
    p_value: float
    p_holm: float
    interval_holm: Interval


def percentile_interval(replicates: np.ndarray, alpha: float = ALPHA) -> Interval:
    """The central 1 - alpha of the replicates; replicates without anything to average are left out.

    >>> percentile_interval(np.arange(101.0), alpha=0.1)
    (5.0, 95.0)
    """
    known = replicates[np.isfinite(replicates)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def sign_p_value(replicates: np.ndarray) -> float:
    """Two-sided p-value of the hypothesis that the difference is 0, never below 2 / (replicates + 1).

    >>> sign_p_value(np.array([1.0] * 39)), sign_p_value(np.zeros(9))
    (0.05, 1.0)
    """
    known = replicates[np.isfinite(replicates)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return min(1.0, 2 * (int(tail) + 1) / (len(known) + 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for their number (Holm, Scandinavian Journal of Statistics 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - place)))
        corrected[name] = largest
    return corrected


def paired_differences(
    estimates: Mapping[str, float], replicates: Mapping[str, np.ndarray], reference: str
) -> dict[str, Difference]:
    """Every model minus the reference, in the same replicates.

    The Holm interval of the model with the i-th smallest of m p-values has level 1 - ALPHA / (m - i + 1), so that it
    leaves out 0 when the corrected p-value is below ALPHA, up to the grain of the replicates.
    """
    others = [model for model in estimates if model != reference]
    moved = {model: replicates[model] - replicates[reference] for model in others}
    p_values = {model: sign_p_value(moved[model]) for model in others}
    corrected = holm(p_values)
    return {
        model: Difference(
            estimate=estimates[model] - estimates[reference],
            interval=percentile_interval(moved[model]),
            p_value=p_values[model],
            p_holm=corrected[model],
            interval_holm=percentile_interval(moved[model], ALPHA / (len(others) - place)),
        )
        for place, model in enumerate(corrected)
    }
