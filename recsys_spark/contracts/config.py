"""One frozen dataclass per config section, gathered in PipelineConfig.

`conf/base.yaml` names every key with its unit; a test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_spark.contracts.candidate_config import CandidatesConfig, FeaturesConfig
from recsys_spark.contracts.checks import one_of, require
from recsys_spark.contracts.columns import LINE_COLUMNS
from recsys_spark.contracts.model_config import MODELS as MODELS
from recsys_spark.contracts.model_config import SENTINEL as SENTINEL
from recsys_spark.contracts.model_config import BaselinesConfig as BaselinesConfig
from recsys_spark.contracts.model_config import EaseConfig, KnnConfig, NmfConfig, TifuConfig
from recsys_spark.contracts.ranker_config import RankerConfig
from recsys_spark.contracts.recommend_config import RecommendConfig as RecommendConfig
from recsys_spark.contracts.retriever_config import IndexConfig, RetrieverConfig

INGEST_RULES = ("orphan_customer", "orphan_product", "totals_row")
CLEAN_RULES = (
    "unparsed_date",
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


@dataclass(frozen=True, kw_only=True)
class PathsConfig:
    processed: str = "data/processed"


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    app_name: str = "b2b-recommender"
    conf: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TablesConfig:
    """Three normalised tables, used when `transactions` is given."""

    transactions: str | None = None
    products: str | None = None
    customers: str | None = None


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    sources: tuple[str, ...] = ()
    format: str = "auto"
    tables: TablesConfig = field(default_factory=TablesConfig)
    engine: str = "calamine"
    sheets: tuple[str, ...] = ("all",)
    header_search_rows: int = 20
    totals_words: tuple[str, ...] = ("total", "grand total", "sum", "الإجمالي", "المجموع")
    csv_separator: str = ","
    csv_encoding: str = "UTF-8"
    aliases: dict[str, list[str]] = field(
        default_factory=lambda: {
            "invoice_id": ["invoice no", "invoice number", "invoice", "order id", "order no", "basket id"],
            "stock_code": ["item code", "product code", "product id", "article", "sku", "material"],
            "description": ["item name", "product name", "product", "item description", "product type"],
            "customer_id": ["customer", "customer no", "customer code", "client id", "account", "household id"],
            "invoice_date": ["date", "order date", "transaction date", "transaction timestamp", "day"],
            "quantity": ["qty", "units", "pieces", "sales quantity"],
            "line_amount": ["amount", "line total", "sales value", "net amount", "total amount", "value", "revenue"],
            "brand": ["manufacturer", "make"],
            "category": ["product category", "item group", "product group"],
            "showroom": ["store", "store id", "branch", "location"],
            "sales_channel": ["channel"],
            "year": ["fiscal year"],
        }
    )

    def __post_init__(self) -> None:
        one_of(self.format, ("auto", "workbook", "csv", "parquet", "tables"), "ingest.format")
        one_of(self.engine, ("calamine", "openpyxl"), "ingest.engine")
        require(self.header_search_rows >= 1, "ingest.header_search_rows", "at least 1", self.header_search_rows)
        require(len(self.csv_separator) == 1, "ingest.csv_separator", "one character", self.csv_separator)
        for column in self.aliases:
            one_of(column, LINE_COLUMNS, "a key of ingest.aliases")


@dataclass(frozen=True, kw_only=True)
class DatesConfig:
    formats: tuple[str, ...] = (
        "yyyy-M-d",
        "yyyyMMdd",
        "d/M/yyyy H:mm:ss",
        "d/M/yyyy H:mm",
        "d/M/yyyy",
        "d-MMM-yyyy",
        "d.M.yyyy",
    )
    system: int = 1900
    default_year: int | None = None
    token_means: str = "day"

    def __post_init__(self) -> None:
        require(self.system in (1900, 1904), "clean.dates.system", "1900 or 1904", self.system)
        one_of(self.token_means, ("day", "year"), "clean.dates.token_means")
        year = self.default_year
        require(year is None or 1900 <= year <= 2200, "clean.dates.default_year", "between 1900 and 2200", year)


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

    def applies(self, rule: str) -> bool:
        """Whether the rule is switched on; a rule that the config does not name is on."""
        return self.rules.get(rule, True)


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
        dates = (self.fold_end, self.train_end, self.val_end)
        given = [date for date in dates if date]
        require(len(given) in (0, 3), "split.fold_end, train_end and val_end", "given together or not at all", dates)
        require(given == sorted(set(given)), "split dates", "ISO dates in rising order", dates)


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
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    recommend: RecommendConfig = field(default_factory=RecommendConfig)

    def __post_init__(self) -> None:
        require(self.seed >= 1, "seed", "at least 1 (Petastorm reads 0 as no seed)", self.seed)
