"""What a run is held against, and from where on a difference is drift."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_spark.contracts.checks import require


@dataclass(frozen=True, kw_only=True)
class DriftThresholds:
    """What a measure may come to without an alarm; conf/base.yaml says on which side it alarms.

    psi: from 0.1 to 0.25 a shift is commonly called moderate, beyond it major. price_shift: mean difference of log
    prices. unknown_*: shares of the new money. money_uplift: of shares of the money.
    """

    psi: float = 0.2
    missing_rate: float = 0.1
    rejected_lines: float = 0.1
    price_shift: float = 0.1
    unknown_customers: float = 0.2
    unknown_products: float = 0.1
    mean_shift: float = 0.15
    covariance_shift: float = 0.3
    neighbour_overlap: float = 0.2
    lost_neighbours: float = 0.1
    calibration: float = 0.2
    coverage: float = 0.3
    gini: float = 0.1
    rank_overlap: float = 0.2
    metric_drop: float = 0.05
    money_drop: float = 0.1
    money_uplift: float = 0.0

    def __post_init__(self) -> None:
        for key in ("psi", "price_shift", "mean_shift", "covariance_shift", "calibration"):
            require(getattr(self, key) > 0, f"monitor.thresholds.{key}", "above 0", getattr(self, key))
        shares = (
            "missing_rate",
            "rejected_lines",
            "unknown_customers",
            "unknown_products",
            "neighbour_overlap",
            "lost_neighbours",
        )
        for key in (*shares, "coverage", "gini", "rank_overlap", "metric_drop", "money_drop"):
            require(0 <= getattr(self, key) <= 1, f"monitor.thresholds.{key}", "between 0 and 1", getattr(self, key))
        require(-1 <= self.money_uplift <= 1, "monitor.thresholds.money_uplift", "between -1 and 1", self.money_uplift)


@dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """against: folder of an earlier run; new_lines: files of lines that came since. One of them is needed."""

    against: str | None = None
    new_lines: tuple[str, ...] = ()
    bins: int = 10
    reference_days: int = 90
    null_level: float = 0.001
    max_categories: int = 20
    top_k: int = 20
    neighbours: int = 20
    neighbour_items: int = 1000
    thresholds: DriftThresholds = field(default_factory=DriftThresholds)

    def __post_init__(self) -> None:
        require(2 <= self.bins <= 100, "monitor.bins", "between 2 and 100", self.bins)
        require(0 < self.null_level < 1, "monitor.null_level", "above 0 and below 1", self.null_level)
        require(1 <= self.top_k <= 100, "monitor.top_k", "between 1 and 100", self.top_k)
        for key in ("reference_days", "max_categories", "neighbours", "neighbour_items"):
            require(getattr(self, key) >= 1, f"monitor.{key}", "at least 1", getattr(self, key))
