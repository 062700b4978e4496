"""What is recommended, by which rules of the business, and what its reasons may rest on: config of `recommend`."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_spark.contracts.checks import one_of, require


@dataclass(frozen=True, kw_only=True)
class EligibilityConfig:
    """A table of products with stock_code and any of in_stock, stock, withdrawn, from, to."""

    table: str | None = None
    unlisted: str = "eligible"

    def __post_init__(self) -> None:
        one_of(self.unlisted, ("eligible", "barred"), "recommend.eligibility.unlisted")


@dataclass(frozen=True, kw_only=True)
class ReasonsConfig:
    recent_items: int = 20
    min_customers: int = 3
    min_similarity: float = 0.5

    def __post_init__(self) -> None:
        for key in ("recent_items", "min_customers"):
            require(getattr(self, key) >= 1, f"recommend.reasons.{key}", "at least 1", getattr(self, key))
        similarity = self.min_similarity
        require(0 < similarity <= 1, "recommend.reasons.min_similarity", "above 0 and at most 1", similarity)


@dataclass(frozen=True, kw_only=True)
class RecommendConfig:
    top_n: int = 20
    share_new: float | None = None
    excluded_codes: tuple[str, ...] = ()
    eligibility: EligibilityConfig = field(default_factory=EligibilityConfig)
    min_price: float | None = None
    customer_exclusions: str | None = None
    unknown_ids: str = "error"
    max_per_category: int | None = None
    max_per_brand: int | None = None
    reasons: ReasonsConfig = field(default_factory=ReasonsConfig)
    as_of: str | None = None
    new_lines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(1 <= self.top_n <= 100, "recommend.top_n", "between 1 and 100", self.top_n)
        share, price = self.share_new, self.min_price
        require(share is None or 0 <= share <= 1, "recommend.share_new", "between 0 and 1", share)
        require(price is None or price >= 0, "recommend.min_price", "0 or more", price)
        one_of(self.unknown_ids, ("error", "ignore"), "recommend.unknown_ids")
        for key in ("max_per_category", "max_per_brand"):
            cap = getattr(self, key)
            require(cap is None or cap >= 1, f"recommend.{key}", "at least 1", cap)
