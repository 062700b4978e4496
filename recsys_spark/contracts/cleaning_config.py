"""How lines are cleaned: the rules by name, and the config of `clean`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from recsys_spark.contracts.checks import one_of, require

INGEST_RULES = ("orphan_customer", "orphan_product", "totals_row", "ragged_line")
CLEAN_RULES = (
    "unparsed_date",
    "future_date",
    "missing_customer",
    "missing_stock_code",
    "missing_quantity",
    "missing_amount",
    "return",
    "non_positive_quantity",
    "non_positive_price",
    "exact_duplicate",
    "cancelled",
    "non_product",
    "outlier",
    "rare_item",
    "rare_customer",
)


def _is_day(text: str | None) -> bool:
    try:
        return text is None or date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class DatesConfig:
    formats: tuple[str, ...] = (
        "yyyyMMdd",
        "d/M/yyyy[ H:mm[:ss]]",
        "d.M.yyyy[ H:mm[:ss]]",
        "d-M-yyyy[ H:mm[:ss]]",
        "d-MMM-yyyy",
    )
    system: int = 1900
    default_year: int | None = None
    token_means: str = "day"
    latest: str | None = None

    def __post_init__(self) -> None:
        require(self.system in (1900, 1904), "clean.dates.system", "1900 or 1904", self.system)
        one_of(self.token_means, ("day", "year"), "clean.dates.token_means")
        year = self.default_year
        require(year is None or 1900 <= year <= 2200, "clean.dates.default_year", "between 1900 and 2200", year)
        require(_is_day(self.latest), "clean.dates.latest", "null or an ISO date such as 2011-12-09", self.latest)


@dataclass(frozen=True, kw_only=True)
class OutlierConfig:
    multiplier: float = 3.0
    mode: str = "winsorize"
    scope: str = "global"
    min_lines: int = 20

    def __post_init__(self) -> None:
        require(self.multiplier > 0, "clean.outliers.multiplier", "above 0", self.multiplier)
        one_of(self.mode, ("winsorize", "drop", "off"), "clean.outliers.mode")
        one_of(self.scope, ("global", "item"), "clean.outliers.scope")
        require(self.min_lines >= 4, "clean.outliers.min_lines", "at least 4", self.min_lines)


@dataclass(frozen=True, kw_only=True)
class CoverageConfig:
    rounds: int = 0
    min_customers_per_item: int = 5
    min_items_per_customer: int = 5

    def __post_init__(self) -> None:
        require(self.rounds >= 0, "clean.coverage.rounds", "0 or more", self.rounds)
        for key in ("min_customers_per_item", "min_items_per_customer"):
            require(getattr(self, key) >= 1, f"clean.coverage.{key}", "at least 1", getattr(self, key))


@dataclass(frozen=True, kw_only=True)
class CleanConfig:
    dates: DatesConfig = field(default_factory=DatesConfig)
    rules: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(INGEST_RULES + CLEAN_RULES, True))
    non_product_codes: tuple[str, ...] = (
        "POST",
        "POSTAGE",
        "DOT",
        "M",
        "D",
        "C2",
        "S",
        "B",
        "CRUK",
        "PADS",
        "BANK CHARGES",
        "AMAZONFEE",
        "ADJUST[0-9]*",
        "TEST[0-9]*",
        "GIFT_[0-9_]+",
    )
    non_product_descriptions: tuple[str, ...] = (
        "POSTAGE",
        "CARRIAGE",
        "SHIPPING( FEES?| COST)?",
        "DELIVERY( FEES?| CHARGES?)?",
        "(BANK |SERVICE |HANDLING )?(FEES?|CHARGES?)",
        "DISCOUNT",
        "MANUAL",
        "SAMPLES?",
        "رسوم( الشحن| التوصيل)?",
        "(شحن|توصيل|خصم)",
    )
    net_cancellations: bool = False
    date_grain: str = "timestamp"
    outliers: OutlierConfig = field(default_factory=OutlierConfig)
    coverage: CoverageConfig = field(default_factory=CoverageConfig)

    def __post_init__(self) -> None:
        one_of(self.date_grain, ("timestamp", "day"), "clean.date_grain")
        for rule in self.rules:
            one_of(rule, INGEST_RULES + CLEAN_RULES, "a key of clean.rules")

    @property
    def nets_cancellations(self) -> bool:
        """Whether returns take purchases out, those after a cutoff also purchases before it."""
        return self.net_cancellations and self.applies("cancelled")

    @property
    def drops_outliers(self) -> bool:
        """Whether interactions with a value outside the bounds are rejected."""
        return self.outliers.mode == "drop" and self.applies("outlier")

    @property
    def rejects_interactions(self) -> bool:
        """Whether interactions leave after the cutoffs were set by shares of them."""
        return self.drops_outliers or self.coverage.rounds > 0

    def applies(self, rule: str) -> bool:
        """Whether the rule is switched on; a rule that the config does not name is on."""
        return self.rules.get(rule, True)
