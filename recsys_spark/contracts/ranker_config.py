"""The ranker: what it minimises, how it is trained, and the settings of gradient-boosted trees in its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from recsys_spark.contracts.checks import one_of, require

GBDT_MODELS = ("lambdarank", "binary")
RANKER_MODELS = ("mlp", *GBDT_MODELS, "none")
TWO_STAGE = "two_stage"  # the model of candidates, their features and a ranker
SCHEDULES = ("cosine", "plateau")  # of the learning rate
VARIANTS = ("base", "no_ranker", "bce", "plain", "lambdarank", "groups", "sources")  # of ablations
TRANSFORMS = ("log", "standard", "quantile")  # of a feature on its way into the MLP


@dataclass(frozen=True, kw_only=True)
class GbdtConfig:
    """LightGBM, for the models `lambdarank` and `binary`. patience: rounds without a better dev NDCG@20."""

    num_rounds: int = 500
    learning_rate: float = 0.05
    num_leaves: int = 31
    min_leaf_rows: int = 50
    patience: int = 50

    def __post_init__(self) -> None:
        for key in ("num_rounds", "min_leaf_rows", "patience"):
            require(getattr(self, key) >= 1, f"ranker.gbdt.{key}", "at least 1", getattr(self, key))
        require(self.num_leaves >= 2, "ranker.gbdt.num_leaves", "at least 2", self.num_leaves)
        require(self.learning_rate > 0, "ranker.gbdt.learning_rate", "above 0", self.learning_rate)


@dataclass(frozen=True, kw_only=True)
class AnalysisConfig:
    """Queries, chosen by hash, behind figures that are dear: of val for importance, of each split with forced ones."""

    importance_queries: int = 400
    forced_queries: int = 2000

    def __post_init__(self) -> None:
        for key in ("importance_queries", "forced_queries"):
            require(getattr(self, key) >= 0, f"analysis.{key}", "0 or more", getattr(self, key))


@dataclass(frozen=True, kw_only=True)
class AblationsConfig:
    """variants: rankers that are trained anew to see what each part is worth; `sources` and `groups` are one each."""

    variants: tuple[str, ...] = VARIANTS
    num_seeds: int = 1

    def __post_init__(self) -> None:
        for variant in self.variants:
            one_of(variant, VARIANTS, "an entry of ablations.variants")
        require(1 <= self.num_seeds <= 100, "ablations.num_seeds", "1 to 100", self.num_seeds)


@dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """negatives_per_positive: for `bce`, 0 keeps all. feature_drop: share of rows that train without drop_features.

    heavy_tails: how features of kind `log` enter the MLP. batch_rows: of a step, on each process, at least the
    candidates of a query. schedule: `cosine` lets the learning rate fall over max_epochs. num_seeds: members of the MLP
    whose scores are averaged; LightGBM has one booster for each head.
    """

    model: str = "mlp"
    loss: str = "listwise"
    hidden: int = 128
    dropout: float = 0.2
    feature_drop: float = 0.0
    drop_features: tuple[str, ...] = ("dot_uv",)
    within_query: bool = True
    heavy_tails: str = "log"
    negatives_per_positive: int = 0
    batch_rows: int = 4096
    learning_rate: float = 0.001
    schedule: str = "cosine"
    weight_decay: float = 0.01
    max_epochs: int = 8
    patience: int = 2
    refit: bool = True
    num_seeds: int = 3
    engine: str = "petastorm"
    num_processes: int = 1
    launcher: str = "local"
    precision: str = "auto"
    clip_norm: float = 1.0
    checkpoint_seconds: int = 300
    tracking: str = "none"
    gbdt: GbdtConfig = field(default_factory=GbdtConfig)

    def __post_init__(self) -> None:
        one_of(self.model, RANKER_MODELS, "ranker.model")
        one_of(self.loss, ("listwise", "bce"), "ranker.loss")
        one_of(self.heavy_tails, ("log", "quantile"), "ranker.heavy_tails")
        one_of(self.schedule, SCHEDULES, "ranker.schedule")
        for key in ("dropout", "feature_drop"):
            require(0 <= getattr(self, key) < 1, f"ranker.{key}", "at least 0, below 1", getattr(self, key))
        for key in ("hidden", "batch_rows", "max_epochs", "num_processes", "checkpoint_seconds"):
            require(getattr(self, key) >= 1, f"ranker.{key}", "at least 1", getattr(self, key))
        for key in ("negatives_per_positive", "weight_decay", "patience"):
            require(getattr(self, key) >= 0, f"ranker.{key}", "0 or more", getattr(self, key))
        for key in ("learning_rate", "clip_norm"):
            require(getattr(self, key) > 0, f"ranker.{key}", "above 0", getattr(self, key))
        require(1 <= self.num_seeds <= 100, "ranker.num_seeds", "1 to 100", self.num_seeds)
        one_of(self.engine, ("petastorm", "arrow"), "ranker.engine")
        one_of(self.launcher, ("local", "barrier"), "ranker.launcher")
        one_of(self.precision, ("auto", "float32", "bfloat16"), "ranker.precision")
        one_of(self.tracking, ("none", "tensorboard", "mlflow"), "ranker.tracking")

    @property
    def ranked(self) -> tuple[str, ...]:
        """Names of the models that rank: the two stages together, unless there is no ranker."""
        return () if self.model == "none" else (TWO_STAGE,)

    def transforms(self, kinds: Iterable[str]) -> tuple[str, ...]:
        """How features of these kinds enter the MLP, of TRANSFORMS.

        >>> RankerConfig(heavy_tails="quantile").transforms(["standard", "log"])
        ('standard', 'quantile')
        """
        return tuple(self.heavy_tails if kind == "log" else kind for kind in kinds)

    @property
    def num_trainers(self) -> int:
        """Processes that train: LightGBM takes one, and others would only wait for it."""
        return 1 if self.model in GBDT_MODELS else self.num_processes
