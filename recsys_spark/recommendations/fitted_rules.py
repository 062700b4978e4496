"""The rules of a run as tasks find them, and the evidence of a fit: what the job and its what-if both need."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from pyspark.sql import DataFrame

from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.registry import tables_of
from recsys_spark.candidates.sources import models_behind
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.artifacts import INGEST_REPORT, ITEM_EMBEDDINGS, ITEM_ID_MAP, ITEM_NEIGHBOURS
from recsys_spark.contracts.config import DatesConfig, IngestConfig
from recsys_spark.contracts.recommend_config import RecommendConfig
from recsys_spark.paths import spark_uri
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.recommendations.eligibility import item_rules, load_item_rules, read_eligibility, read_exclusions
from recsys_spark.recommendations.evidence import EvidenceSource
from recsys_spark.recommendations.named_model import NamedModelSettings
from recsys_spark.recommendations.policy import Policy
from recsys_spark.recommendations.rule_tables import table_files
from recsys_spark.recommendations.rules import ItemRules
from recsys_spark.stage import StageIO


def rule_files(options: RecommendConfig) -> list[str]:
    """The files of the tables that the business keeps."""
    paths = (options.eligibility.table, options.customer_exclusions)
    return [file for path in paths if path for file in table_files(path)]


def policy_of(options: RecommendConfig, top_n: int) -> Policy:
    return Policy(top_n, options.share_new, options.max_per_category, options.max_per_brand)


def fitted_rules(
    io: StageIO,
    items: DataFrame,
    options: RecommendConfig,
    ingest: IngestConfig,
    dates: DatesConfig,
    interactions: DataFrame,
) -> Callable[[], ItemRules]:
    """Loads the rules of items inside a task. items: of all, their category and brand; interactions: those that prices
    are taken from.
    """
    table = options.eligibility.table
    eligibility = read_eligibility(io.read(ITEM_ID_MAP), options, ingest, dates) if table else None
    rules = item_rules(items, options, eligibility, interactions)
    folder = io.scratch(f"item_rules_{uuid.uuid4().hex}")  # a name of its own: processes outlive a run
    rules.coalesce(1).write.parquet(spark_uri(folder))
    return partial(load_item_rules, folder)


def customer_entry(io: StageIO, ingest: IngestConfig, root: str) -> CustomerEntry:
    """How customers of further files come in. Raises ConfigError where the run's own came in by another key."""
    entry = CustomerEntry.of(ingest, root)
    entry.require_same_key(io.read_json(INGEST_REPORT))
    return entry


def with_exclusions(
    io: StageIO, asked: DataFrame, customer_ids: DataFrame, options: RecommendConfig, ingest: IngestConfig, root: str
) -> DataFrame:
    """The rows with `excluded`: item_idx that are not to be recommended to the customer, null for none.

    root: paths.processed, whose forgotten customers are passed over.
    """
    if not options.customer_exclusions:
        return asked
    entry = customer_entry(io, ingest, root)
    excluded = read_exclusions(io.read(ITEM_ID_MAP), customer_ids, options, ingest, entry)
    return asked.join(excluded, on="customer_id", how="left")


def fitted_evidence(io: StageIO, settings: NamedModelSettings, recent_items: int, fit: str) -> EvidenceSource:
    """What relates items to each other at a fit. recent_items: see `EvidenceSource`."""
    names = (*settings.models.baselines.models, *models_behind(settings.candidates.quotas))
    has_neighbours, towers = ITEM_NEIGHBOURS in tables_of(names, settings.models), settings.retriever.towers
    return EvidenceSource(
        neighbours=FittedTable(*io.path_and_content(ITEM_NEIGHBOURS, fit=fit)) if has_neighbours else None,
        vectors=FittedFile(*io.path_and_content(ITEM_EMBEDDINGS, fit=fit, tower=towers[0])) if towers else None,
        recent_items=recent_items,
    )
