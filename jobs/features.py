"""Describe every candidate to the ranker by what was known before its query; shards of (query, candidate) rows."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

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
from recsys_spark.features.shards import shard_features, with_forced
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
    metrics, shard_rows, quotas = {}, config.features.shard_rows, config.candidates.quotas
    with arrow_batches_of(io.spark, ROWS_PER_ARROW_BATCH):
        for split, fit in FIT_OF_SPLIT.items():
            builder = fitted_builder(io, config.features, quotas, config.retriever.towers, config.queries.hist_max, fit)
            for part, candidates in _parts(io, config, split).items():
                shards = shard_features(candidates, histories, builder, shard_rows, config.seed)
                metrics[f"{part}_rows"] = io.write(RANKER_FEATS, shards, part=part)
    return metrics


def _parts(io: StageIO, config: PipelineConfig, split: str) -> dict[str, DataFrame]:
    """The candidates of a split, and those forced; of train the last queries by time as `dev`, where none is forced."""
    candidates = io.read(CANDIDATES, split=split)
    if split != "train":
        return {split: candidates, f"forced_{split}": io.read(CANDIDATES_FORCED, split=split)}
    fold = cutoff(io.read_json(artifacts.SPLIT_CUTOFFS)["fold_end"])
    is_early = F.col("event_time") <= early_end(candidates, config.features.dev_share, fold, "features.dev_share")
    early = candidates.filter(is_early)
    if config.features.forced_train:
        early = with_forced(early, io.read(CANDIDATES_FORCED, split=split))
    return {split: early, "dev": candidates.filter(~is_early)}


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
