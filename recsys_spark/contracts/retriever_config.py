"""The towers of the retriever: one frozen dataclass for each kind of setting, gathered in RetrieverConfig."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_spark.contracts.checks import one_of, require
from recsys_spark.contracts.columns import ALL_ITEMS, FIRST_PURCHASE, LIST_PROTOCOLS
from recsys_spark.contracts.context import CONTEXT_SIZES, PLACE_CONTEXT

TOWERS = ("all", "first", "plain")
SIDE_FEATURES = ("brand", "category", "price", "description")
RANK_BY = ("tower", "history")


def ranked_as(tower: str, by: str) -> str:
    """The name of a tower as a model, by its user vectors or by the mean of the history's item vectors.

    >>> ranked_as("all", "history")
    'two_tower_all_history'
    """
    return f"two_tower_{tower}" + ("_history" if by == "history" else "")


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """One two-tower model: what its sides are made of, what it minimises, and how it is trained."""

    examples: str = "queries"
    user_tower: str = "history"
    pooling: str = "recency"
    decay_days: float = 90.0
    tied: bool = True
    dim: int = 256
    num_blocks: int = 0
    dropout: float = 0.1
    start: str = "ppmi"
    trend: bool = True
    trend_input: bool = False
    side_features: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    loss: str = "shared"
    num_negatives: int = 1024
    temperature: float = 0.1
    learn_temperature: bool = False
    log_q: bool = True
    targets: str = "all"
    basket_exponent: float = 0.5
    batch_size: int = 512
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    max_epochs: int = 6
    patience: int = 1
    dev_protocol: str = ALL_ITEMS

    def __post_init__(self) -> None:
        one_of(self.examples, ("queries", "sequences"), "retriever.<tower>.examples")
        one_of(self.user_tower, ("id", "history", "both"), "retriever.<tower>.user_tower")
        one_of(self.pooling, ("mean", "recency", "attention"), "retriever.<tower>.pooling")
        one_of(self.start, ("random", "ppmi"), "retriever.<tower>.start")
        one_of(self.loss, ("shared", "per_example"), "retriever.<tower>.loss")
        one_of(self.targets, ("all", "new"), "retriever.<tower>.targets")
        one_of(self.dev_protocol, LIST_PROTOCOLS, "retriever.<tower>.dev_protocol")
        for feature in self.side_features:
            one_of(feature, SIDE_FEATURES, "an entry of retriever.<tower>.side_features")
        for feature in self.context:
            one_of(feature, tuple(CONTEXT_SIZES), "an entry of retriever.<tower>.context")
        for key in ("dim", "num_negatives", "batch_size", "max_epochs"):
            require(getattr(self, key) >= 1, f"retriever.<tower>.{key}", "at least 1", getattr(self, key))
        for key in ("num_blocks", "weight_decay", "patience", "basket_exponent"):
            require(getattr(self, key) >= 0, f"retriever.<tower>.{key}", "0 or more", getattr(self, key))
        for key in ("decay_days", "temperature", "learning_rate"):
            require(getattr(self, key) > 0, f"retriever.<tower>.{key}", "above 0", getattr(self, key))
        require(0 <= self.dropout < 1, "retriever.<tower>.dropout", "at least 0, below 1", self.dropout)

    @property
    def pools_sequences(self) -> bool:
        """Whether it learns from the histories of SEQUENCES, not from those of QUERIES."""
        return self.examples == "sequences" and self.user_tower != "id"

    def hist_max(self, of_sequences: int, of_queries: int) -> int:
        """The newest events that a history holds, in training and in serving, of those that the two tables hold."""
        return of_sequences if self.pools_sequences else of_queries


def _first() -> TowerConfig:
    return TowerConfig(temperature=0.15, dev_protocol=FIRST_PURCHASE)


def _plain() -> TowerConfig:
    return TowerConfig(
        examples="sequences",
        user_tower="id",
        num_blocks=2,
        start="random",
        trend=False,
        loss="per_example",
        num_negatives=128,
        batch_size=1024,
        learning_rate=0.001,
    )


@dataclass(frozen=True, kw_only=True)
class RetrieverConfig:
    towers: tuple[str, ...] = ("all", "first")
    rank_by: tuple[str, ...] = ("tower",)
    dev_share: float = 0.1
    recent_days: int = 28
    snapshot_days: int = 28
    engine: str = "petastorm"
    row_group_rows: int = 8192
    num_processes: int = 1
    launcher: str = "local"
    precision: str = "auto"
    compile: bool = False
    clip_norm: float = 1.0
    checkpoint_seconds: int = 300
    tracking: str = "none"
    all: TowerConfig = field(default_factory=TowerConfig)
    first: TowerConfig = field(default_factory=_first)
    plain: TowerConfig = field(default_factory=_plain)

    def __post_init__(self) -> None:
        for tower in self.towers:
            one_of(tower, TOWERS, "an entry of retriever.towers")
        for way in self.rank_by:
            one_of(way, RANK_BY, "an entry of retriever.rank_by")
        require(0 < self.dev_share < 1, "retriever.dev_share", "between 0 and 1", self.dev_share)
        for key in ("recent_days", "snapshot_days", "row_group_rows", "num_processes", "checkpoint_seconds"):
            require(getattr(self, key) >= 1, f"retriever.{key}", "at least 1", getattr(self, key))
        require(self.clip_norm > 0, "retriever.clip_norm", "above 0", self.clip_norm)
        one_of(self.engine, ("petastorm", "arrow"), "retriever.engine")
        one_of(self.launcher, ("local", "barrier"), "retriever.launcher")
        one_of(self.precision, ("auto", "float32", "bfloat16"), "retriever.precision")
        one_of(self.tracking, ("none", "tensorboard", "mlflow"), "retriever.tracking")

    def tower(self, name: str) -> TowerConfig:
        """The settings of a tower by its name."""
        found: TowerConfig = getattr(self, name)
        return found

    @property
    def has_context(self) -> bool:
        """Whether a chosen tower is told of the context of its queries."""
        return any(self.tower(name).context for name in self.towers)

    @property
    def uses_places(self) -> bool:
        """Whether a chosen tower is told of showrooms or channels: its queries want histories with places."""
        return any(feature in PLACE_CONTEXT for name in self.towers for feature in self.tower(name).context)

    @property
    def ranked(self) -> tuple[str, ...]:
        """Names of the models that rank: each tower, by its user vectors and by the history's mean."""
        return tuple(ranked_as(tower, way) for tower in self.towers for way in self.rank_by)


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """FAISS index over item vectors; all kinds search by inner product."""

    kind: str = "auto"
    flat_below: int = 200_000
    num_lists: int = 0
    num_probes: int = 64
    hnsw_links: int = 32
    hnsw_search: int = 256
    min_recall: float = 0.98
    recall_queries: int = 1000

    def __post_init__(self) -> None:
        one_of(self.kind, ("auto", "flat", "ivf", "hnsw"), "index.kind")
        for key in ("flat_below", "num_lists"):
            require(getattr(self, key) >= 0, f"index.{key}", "0 or more", getattr(self, key))
        for key in ("num_probes", "hnsw_links", "hnsw_search", "recall_queries"):
            require(getattr(self, key) >= 1, f"index.{key}", "at least 1", getattr(self, key))
        require(0 <= self.min_recall <= 1, "index.min_recall", "between 0 and 1", self.min_recall)
