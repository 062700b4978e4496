"""One frozen dataclass per config section, gathered in PipelineConfig.

`conf/base.yaml` names every key with its unit; a test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_spark.contracts.candidate_config import CandidatesConfig, FeaturesConfig, source_names
from recsys_spark.contracts.checks import one_of, require, utc_moment
from recsys_spark.contracts.cleaning_config import CLEAN_RULES as CLEAN_RULES
from recsys_spark.contracts.cleaning_config import INGEST_RULES as INGEST_RULES
from recsys_spark.contracts.cleaning_config import CleanConfig as CleanConfig
from recsys_spark.contracts.cleaning_config import CoverageConfig as CoverageConfig
from recsys_spark.contracts.cleaning_config import DatesConfig as DatesConfig
from recsys_spark.contracts.cleaning_config import OutlierConfig as OutlierConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.features import chosen_features
from recsys_spark.contracts.ingest_config import IngestConfig as IngestConfig
from recsys_spark.contracts.ingest_config import TablesConfig as TablesConfig
from recsys_spark.contracts.model_config import MODELS as MODELS
from recsys_spark.contracts.model_config import SENTINEL as SENTINEL
from recsys_spark.contracts.model_config import BaselinesConfig as BaselinesConfig
from recsys_spark.contracts.model_config import EaseConfig, KnnConfig, NmfConfig, TifuConfig
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.contracts.ranker_config import AblationsConfig, AnalysisConfig, RankerConfig
from recsys_spark.contracts.recommend_config import RecommendConfig as RecommendConfig
from recsys_spark.contracts.retriever_config import IndexConfig, RetrieverConfig
from recsys_spark.contracts.serve_config import ServeConfig
from recsys_spark.contracts.tracking_config import TrackingConfig


@dataclass(frozen=True, kw_only=True)
class PathsConfig:
    processed: str = "data/processed"

    def __post_init__(self) -> None:
        is_path = bool(self.processed.strip()) and "\0" not in self.processed
        require(is_path, "paths.processed", "a path without NUL characters", self.processed)


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    keep: int = 3
    lock_seconds: float = 600.0
    wait_seconds: float = 0.0

    def __post_init__(self) -> None:
        require(self.keep >= 1, "runs.keep", "at least 1", self.keep)
        require(self.lock_seconds >= 1, "runs.lock_seconds", "at least 1", self.lock_seconds)
        require(self.wait_seconds >= 0, "runs.wait_seconds", "0 or more", self.wait_seconds)


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    app_name: str = "b2b-recommender"
    conf: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Shares of the events that have an earlier one of the same customer, or fixed dates (all three)."""

    fold_share: float = 0.6
    train_share: float = 0.8
    val_share: float = 0.9
    fold_end: str | None = None
    train_end: str | None = None
    val_end: str | None = None

    def __post_init__(self) -> None:
        shares = (self.fold_share, self.train_share, self.val_share)
        require(0 < shares[0] < shares[1] < shares[2] < 1, "split shares", "0 < fold < train < val < 1", shares)
        named = {key: getattr(self, key) for key in ("fold_end", "train_end", "val_end")}
        dates, given = tuple(named.values()), {key: date for key, date in named.items() if date}
        require(len(given) in (0, 3), "split.fold_end, train_end and val_end", "given together or not at all", dates)
        # Not as texts: an offset, or an hour beside a bare date, makes another order of them.
        moments = [utc_moment(date, f"split.{key}") for key, date in given.items()]
        require(moments == sorted(set(moments)), "split dates", "ISO dates in rising order", dates)


@dataclass(frozen=True, kw_only=True)
class SequencesConfig:
    hist_max: int = 50
    history_mode: str = "basket"
    merge_minutes: int = 0

    def __post_init__(self) -> None:
        require(self.hist_max >= 1, "sequences.hist_max", "at least 1", self.hist_max)
        one_of(self.history_mode, ("basket", "event"), "sequences.history_mode")
        require(self.merge_minutes >= 0, "sequences.merge_minutes", "0 or more", self.merge_minutes)


@dataclass(frozen=True, kw_only=True)
class QueriesConfig:
    hist_max: int = 200
    max_positives: int = 64

    def __post_init__(self) -> None:
        require(self.hist_max >= 1, "queries.hist_max", "at least 1", self.hist_max)
        require(self.max_positives >= 1, "queries.max_positives", "at least 1", self.max_positives)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    replicates: int = 1000
    diversity_queries: int = 500
    max_categories: int = 20
    test_end: str | None = None

    def __post_init__(self) -> None:
        require(self.replicates >= 100, "evaluation.replicates", "at least 100", self.replicates)
        require(self.diversity_queries >= 1, "evaluation.diversity_queries", "at least 1", self.diversity_queries)
        require(self.max_categories >= 1, "evaluation.max_categories", "at least 1", self.max_categories)


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    seed: int = 1
    paths: PathsConfig = field(default_factory=PathsConfig)
    runs: RunsConfig = field(default_factory=RunsConfig)
    session: SessionConfig = field(default_factory=SessionConfig)
    ingest: IngestConfig = field(default_factory=IngestConfig)
    clean: CleanConfig = field(default_factory=CleanConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    sequences: SequencesConfig = field(default_factory=SequencesConfig)
    queries: QueriesConfig = field(default_factory=QueriesConfig)
    baselines: BaselinesConfig = field(default_factory=BaselinesConfig)
    knn: KnnConfig = field(default_factory=KnnConfig)
    ease: EaseConfig = field(default_factory=EaseConfig)
    tifu: TifuConfig = field(default_factory=TifuConfig)
    nmf: NmfConfig = field(default_factory=NmfConfig)
    retriever: RetrieverConfig = field(default_factory=RetrieverConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    candidates: CandidatesConfig = field(default_factory=CandidatesConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)
    ablations: AblationsConfig = field(default_factory=AblationsConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    recommend: RecommendConfig = field(default_factory=RecommendConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)

    def __post_init__(self) -> None:
        fits = 1 <= self.seed < 2**31
        require(fits, "seed", "1 to 2147483647 (Petastorm reads 0 as no seed, LightGBM takes 31 bits)", self.seed)
        for tower in self.retriever.towers:
            if self.sequences.history_mode == "event" and self.retriever.tower(tower).pools_sequences:
                raise ConfigError(
                    f"retriever.{tower}.examples is sequences, whose histories hold lines of the target's own order by "
                    "sequences.history_mode event; take examples from queries, or set history_mode to basket"
                )
        sources = source_names(self.candidates.quotas, self.retriever.towers)
        if not sources:
            raise ConfigError(
                "candidates.quotas switch on towers alone, and none that retriever.towers names "
                f"({list(self.retriever.towers)}); give another source a quota, or train a tower that has one"
            )
        if self.ranker.ranked:
            self._check_ranker(sources)

    def _check_ranker(self, sources: tuple[str, ...]) -> None:
        """What would fail only once all its inputs are there."""
        fits, most = self.ranker.batch_rows >= self.candidates.max_per_query, self.candidates.max_per_query
        told = f"at least candidates.max_per_query, which is {most}, for a batch holds whole queries"
        require(fits, "ranker.batch_rows", told, self.ranker.batch_rows)
        if not self.ranker.feature_drop:
            return
        names = {feature.name for feature in chosen_features(self.features.set, sources)}
        for name in self.ranker.drop_features:
            if name not in names:
                raise ConfigError(
                    f"ranker.drop_features holds '{name}', which is no feature of set '{self.features.set}' with the "
                    "sources that are switched on; take it out, or switch its source on. Features are listed by "
                    "`recsys describe features`"
                )
