"""Describe every candidate to the ranker by what was known before its query; shards of (query, candidate) rows."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.candidates.chunks import in_chunks, num_parts
from recsys_spark.command_line import main
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import (
    CANDIDATES,
    CANDIDATES_FORCED,
    CUSTOMER_PLACES,
    FIT_OF_SPLIT,
    ITEM_FACTS,
    ITEM_PLACES,
    RANKER_FEATS,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.features.fitted_builder import fitted_builder
from recsys_spark.features.item_features import fit_item_facts
from recsys_spark.features.place_features import fit_customer_places, fit_item_places
from recsys_spark.features.shards import shard_features
from recsys_spark.sequences.reading import read_histories, read_purchases
from recsys_spark.sequences.split import cutoff, cutoffs_of_fits, early_end
from recsys_spark.session import ROWS_PER_ARROW_BATCH, arrow_batches_of
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    interactions, item_ids, customer_ids = purchases = read_purchases(io)
    for fit, end in cutoffs_of_fits(io.read_json(artifacts.SPLIT_CUTOFFS)).items():
        io.write(ITEM_FACTS, fit_item_facts(interactions, item_ids, end), fit=fit)
        io.write(ITEM_PLACES, fit_item_places(interactions, item_ids, end), fit=fit)
        io.write(CUSTOMER_PLACES, fit_customer_places(interactions, customer_ids, end), fit=fit)
    histories = read_histories(io, config.sequences.merge_minutes, purchases, with_quantities=True)
    metrics, quotas = {}, config.candidates.quotas
    with arrow_batches_of(io.spark, ROWS_PER_ARROW_BATCH):
        for split, fit in FIT_OF_SPLIT.items():
            builder = fitted_builder(io, config.features, quotas, config.retriever.towers, config.queries.hist_max, fit)
            parts = num_parts(io.num_rows(CANDIDATES, split=split), config.candidates)
            for part, described in _described(io, config, split).items():
                asked = in_chunks(histories, described.queries, parts, config.seed)
                shards = shard_features(asked, builder, described.folder, described.forced)
                metrics[f"{part}_rows"] = io.write(RANKER_FEATS, shards, part=part)
    return metrics


@dataclass(frozen=True)
class Described:
    """Queries whose candidates get features. folder, forced: as `shard_features` takes them."""

    queries: DataFrame
    folder: str
    forced: str | None = None


def _described(io: StageIO, config: PipelineConfig, split: str) -> dict[str, Described]:
    """The candidates of a split, and those forced; of train the last queries by time as `dev`, where none is forced."""
    queries = io.read(CANDIDATES, split=split)
    folder, forced = (io.path(table, split=split) for table in (CANDIDATES, CANDIDATES_FORCED))
    if split != "train":
        of_forced = io.read(CANDIDATES_FORCED, split=split)
        return {split: Described(queries, folder), f"forced_{split}": Described(of_forced, forced)}
    fold = cutoff(io.read_json(artifacts.SPLIT_CUTOFFS)["fold_end"])
    is_early = F.col("event_time") <= early_end(queries, config.features.dev_share, fold, "features.dev_share")
    return {
        split: Described(queries.filter(is_early), folder, forced if config.features.forced_train else None),
        "dev": Described(queries.filter(~is_early), folder),
    }


STAGE = Stage(
    "features",
    reads=(
        *artifacts.PURCHASE_TABLES,
        artifacts.SPLIT_CUTOFFS,
        artifacts.ITEM_DAYS,
        *artifacts.TOWER_FILES,
        CANDIDATES,
        CANDIDATES_FORCED,
    ),
    writes=(*artifacts.FEATURE_TABLES, RANKER_FEATS),
    sections=("features", "candidates", "retriever", "sequences", "queries"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
