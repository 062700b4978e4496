"""The names of the baselines, and one frozen dataclass per config section of theirs."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_spark.contracts.checks import one_of, require

DEFAULT_MODELS = ("popularity", "recent_popularity", "personal_frequency")
MODELS = (
    *DEFAULT_MODELS,
    "rolling_popularity",
    "category_popularity",
    "item_knn",
    "user_knn",
    "ease",
    "tifu_knn",
    "nmf",
    "blend",
)
SENTINEL = "next_in_catalogue"  # has learned nothing; whatever it finds, the data or the evaluation gives away


@dataclass(frozen=True, kw_only=True)
class BlendConfig:
    """Each part is scaled to a largest score of 1 per query before it is weighed."""

    neighbours: str = "item_knn"
    personal_weight: float = 1.0
    neighbours_weight: float = 0.1
    popularity_weight: float = 0.05

    def __post_init__(self) -> None:
        one_of(self.neighbours, ("item_knn", "user_knn", "ease"), "baselines.blend.neighbours")
        for key in ("personal_weight", "neighbours_weight", "popularity_weight"):
            require(getattr(self, key) >= 0, f"baselines.blend.{key}", "0 or more", getattr(self, key))


@dataclass(frozen=True, kw_only=True)
class BaselinesConfig:
    models: tuple[str, ...] = DEFAULT_MODELS
    recent_days: int = 28
    half_life_days: float = 60.0
    tune: bool = False
    tune_queries: int = 2000
    blend: BlendConfig = field(default_factory=BlendConfig)

    def __post_init__(self) -> None:
        for model in self.models:
            one_of(model, MODELS, "an entry of baselines.models")
        require(len(self.models) > 0, "baselines.models", "a list of at least one model", self.models)
        require(self.recent_days >= 1, "baselines.recent_days", "at least 1", self.recent_days)
        require(self.tune_queries >= 1, "baselines.tune_queries", "at least 1", self.tune_queries)
        require(self.half_life_days > 0, "baselines.half_life_days", "above 0", self.half_life_days)

    @property
    def ranked(self) -> tuple[str, ...]:
        """The models to rank with: those chosen and the sentinel, which runs in every evaluation."""
        return (*self.models, SENTINEL)


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """ItemKNN and UserKNN."""

    num_neighbours: int = 100
    shrinkage: float = 10.0
    min_support: int = 2
    weighting: str = "binary"
    half_life_days: float = 60.0
    self_weight: float = 1.0
    trend_exponent: float = 0.5
    profile_exponent: float = 1.0
    profile_items: int = 100
    recent_days: int = 90
    max_items_per_customer: int = 2000
    task_memory_mb: int = 1024
    max_cost: float = 1e12

    def __post_init__(self) -> None:
        for key in ("num_neighbours", "min_support", "recent_days", "max_items_per_customer", "task_memory_mb"):
            require(getattr(self, key) >= 1, f"knn.{key}", "at least 1", getattr(self, key))
        for key in ("shrinkage", "self_weight", "trend_exponent", "profile_exponent", "profile_items"):
            require(getattr(self, key) >= 0, f"knn.{key}", "0 or more", getattr(self, key))
        for key in ("half_life_days", "max_cost"):
            require(getattr(self, key) > 0, f"knn.{key}", "above 0", getattr(self, key))
        one_of(self.weighting, ("binary", "log_quantity", "tf_idf", "bm25"), "knn.weighting")


@dataclass(frozen=True, kw_only=True)
class EaseConfig:
    l2: float = 500.0
    max_rank: int = 12_000
    min_customers: int = 5
    num_weights: int = 200
    half_life_days: float = 60.0
    self_weight: float = 0.2
    trend_exponent: float = 0.5
    profile_exponent: float = 1.0

    def __post_init__(self) -> None:
        for key in ("l2", "half_life_days"):
            require(getattr(self, key) > 0, f"ease.{key}", "above 0", getattr(self, key))
        for key in ("max_rank", "min_customers", "num_weights"):
            require(getattr(self, key) >= 1, f"ease.{key}", "at least 1", getattr(self, key))
        for key in ("self_weight", "trend_exponent", "profile_exponent"):
            require(getattr(self, key) >= 0, f"ease.{key}", "0 or more", getattr(self, key))


@dataclass(frozen=True, kw_only=True)
class TifuConfig:
    """TIFU-KNN, by the names of its paper."""

    group_size: int = 7
    within_decay: float = 0.9
    group_decay: float = 0.7
    num_neighbours: int = 100
    alpha: float = 0.7

    def __post_init__(self) -> None:
        for key in ("group_size", "num_neighbours"):
            require(getattr(self, key) >= 1, f"tifu.{key}", "at least 1", getattr(self, key))
        for key in ("within_decay", "group_decay"):
            require(0 < getattr(self, key) <= 1, f"tifu.{key}", "above 0, at most 1", getattr(self, key))
        require(0 <= self.alpha <= 1, "tifu.alpha", "between 0 and 1", self.alpha)


@dataclass(frozen=True, kw_only=True)
class NmfConfig:
    num_factors: int = 64
    l2: float = 0.1
    max_iterations: int = 50
    max_cells: int = 500_000_000
    half_life_days: float = 60.0

    def __post_init__(self) -> None:
        for key in ("num_factors", "max_iterations", "max_cells"):
            require(getattr(self, key) >= 1, f"nmf.{key}", "at least 1", getattr(self, key))
        require(self.l2 >= 0, "nmf.l2", "0 or more", self.l2)
        require(self.half_life_days > 0, "nmf.half_life_days", "above 0", self.half_life_days)
