"""What is proposed to the ranker and what it is told about each proposal: config of `candidates` and `features`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from recsys_spark.contracts.checks import one_of, require


@dataclass(frozen=True, kw_only=True)
class QuotasConfig:
    """Items that each source may propose to a query, and what its ranks weigh; 0 switches a source off. The fields are
    the sources' names. A quota stays below 1000, the rank that stands for none among the features.

    `own` and `due` propose what the customer bought before, all others what was not.
    """

    own: int = 200
    due: int = 60
    item_knn: int = 60
    user_knn: int = 40
    ease: int = 60
    last_basket: int = 20
    two_tower_all: int = 40
    two_tower_first: int = 60
    two_tower_plain: int = 0
    rolling_popularity: int = 40
    category_popularity: int = 20

    def __post_init__(self) -> None:
        for source in SOURCES:
            require(0 <= self.of(source) < 1000, f"candidates.quotas.{source}", "0 to 999", self.of(source))
        require(any(self.of(source) for source in SOURCES), "candidates.quotas", "at least one above 0", "none")

    def of(self, source: str) -> int:
        """The quota of a source by its name."""
        quota: int = getattr(self, source)
        return quota


SOURCES = tuple(each.name for each in fields(QuotasConfig))
REPEAT_SOURCES = ("own", "due")
TOWER_SOURCES = {f"two_tower_{tower}": tower for tower in ("all", "first", "plain")}


def is_proposed(rank: Any, quota: Any) -> Any:
    """Whether a source proposes what it ranks so, of arrays of NumPy or columns of Spark.

    Beyond its quota a source ranks what only others propose. What it does not list has the rank 0, in features 1000.

    >>> [is_proposed(rank, 60) for rank in (0, 1, 60, 61, 1000)]
    [False, True, True, False, False]
    """
    return (rank > 0) & (rank <= quota)


def source_names(quotas: QuotasConfig, trained: tuple[str, ...]) -> tuple[str, ...]:
    """The sources that are switched on, in the order of SOURCES; towers among those that are trained."""
    return tuple(
        name for name in SOURCES if quotas.of(name) and (name not in TOWER_SOURCES or TOWER_SOURCES[name] in trained)
    )


@dataclass(frozen=True, kw_only=True)
class CandidatesConfig:
    quotas: QuotasConfig = field(default_factory=QuotasConfig)
    max_per_query: int = 250
    repeat_share: float = 0.5
    train_queries: int = 20_000
    shard_rows: int = 250_000

    def __post_init__(self) -> None:
        for key in ("max_per_query", "train_queries", "shard_rows"):
            require(getattr(self, key) >= 1, f"candidates.{key}", "at least 1", getattr(self, key))
        require(0 < self.repeat_share < 1, "candidates.repeat_share", "between 0 and 1", self.repeat_share)


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    set: str = "full"
    recent_items: int = 10
    similar_items: int = 50
    dev_share: float = 0.1
    forced_train: bool = False

    def __post_init__(self) -> None:
        one_of(self.set, ("full", "extended", "base"), "features.set")
        for key in ("recent_items", "similar_items"):
            require(getattr(self, key) >= 1, f"features.{key}", "at least 1", getattr(self, key))
        require(0 < self.dev_share < 1, "features.dev_share", "between 0 and 1", self.dev_share)
