"""Measures of how a column's values moved: stability index, and the share of rows without a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

from recsys_spark.arrays import Floats
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.monitoring.histograms import value_of
from recsys_spark.monitoring.measures import Measure, above, told
from recsys_spark.monitoring.psi import Histogram, count_shares, null_bound, psi, quantile_edges, shares


@dataclass(frozen=True)
class Draws:
    """Independent draws behind both sides, such as customers or queries: `name` says which."""

    reference: int
    current: int
    name: str

    @property
    def scale(self) -> float:
        """1/n + 1/m, the variance of a difference of shares but for p(1 - p)."""
        return 1 / max(self.reference, 1) + 1 / max(self.current, 1)


def moved_values(
    group: str,
    name: str,
    sides: tuple[Histogram, Histogram],
    draws: Draws,
    config: MonitorConfig,
    by_clock: bool = False,
) -> list[Measure]:
    """PSI and missing rate of a column of numbers. by_clock: it follows the calendar, so a shift is told, no alarm."""
    edges = quantile_edges(sides[0], config.bins)
    found = shares(sides[0], edges), shares(sides[1], edges)
    labels = [*(f"up to {value_of(int(edge)):.4g}" for edge in edges), "above", "none"]
    index = _index(group, f"psi.{name}", name, found, draws, config, by_clock, labels)
    return [index, _missing(group, name, sides, draws, config, by_clock)]


def moved_counts(
    group: str, name: str, sides: tuple[Mapping[str, int], Mapping[str, int]], draws: Draws, config: MonitorConfig
) -> Measure:
    """PSI of a column of names."""
    labels, first, second = count_shares(*sides)
    return _index(group, f"psi.{name}", name, (first, second), draws, config, False, labels)


def _index(
    group: str,
    full_name: str,
    name: str,
    found: tuple[Floats, Floats],
    draws: Draws,
    config: MonitorConfig,
    by_clock: bool,
    labels: list[str],
) -> Measure:
    value = psi(*found)
    noise = null_bound(*found, draws.reference, draws.current, config.null_level)
    held = [(label, *both) for label, *both in zip(labels, *found, strict=True) if max(both) > 0]
    detail: dict[str, Any] = {
        "bins": [label for label, *_ in held],
        "reference": [round(float(share), 6) for _, share, _ in held],
        "current": [round(float(share), 6) for _, _, share in held],
        "noise": round(noise, 6),
        "draws": [draws.reference, draws.current],
    }
    if by_clock:
        return told(group, full_name, value, f"{name} follows the calendar: a shift of it is no alarm", **detail)
    sentence = (
        f"{name} has stability index {value:.3f}; up to {noise:.3f} is sampling of "
        f"{draws.reference:,} and {draws.current:,} {draws.name}"
    )
    return above(group, full_name, value, config.thresholds.psi + noise, sentence, **detail)


def _missing(
    group: str, name: str, sides: tuple[Histogram, Histogram], draws: Draws, config: MonitorConfig, by_clock: bool
) -> Measure:
    first, second = (side.missing_rate for side in sides)
    sentence = f"{name} is missing in {first:.1%} of the reference's rows and {second:.1%} of the current ones"
    if by_clock:
        return told(group, f"missing.{name}", abs(second - first), sentence)
    pooled = (first + second) / 2
    noise = NormalDist().inv_cdf(1 - config.null_level / 2) * sqrt(pooled * (1 - pooled) * draws.scale)
    limit = config.thresholds.missing_rate + noise
    return above(group, f"missing.{name}", abs(second - first), limit, sentence, reference=first, current=second)
