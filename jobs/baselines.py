"""Fit the baselines and rank the val and test queries with them."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.popularity import FittedPopularity, fit_popularity
from recsys_spark.baselines.query_batches import with_queries
from recsys_spark.baselines.ranking import rank
from recsys_spark.baselines.registry import build_model
from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
    BASELINE_RESULTS,
    CUSTOMER_ID_MAP,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    POSITIVE_RANKS,
    QUERIES,
    RANKINGS,
    SEQUENCES,
    SPLIT_CUTOFFS,
    SPLIT_OF_FIT,
)
from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.evaluation.protocols import positive_ranks, recall_by_protocol
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.split import cutoffs_of_fits
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    interactions, item_ids = io.read(INTERACTIONS_CLEAN), io.read(ITEM_ID_MAP)
    merge_minutes = config.sequences.merge_minutes
    merged = customer_histories(interactions, item_ids, io.read(CUSTOMER_ID_MAP), merge_minutes)
    histories = io.materialise("histories", merged)
    for fit, cutoff_time in cutoffs_of_fits(io.read_json(SPLIT_CUTOFFS)).items():
        fitted = fit_popularity(interactions, item_ids, cutoff_time, config.baselines.recent_days)
        io.write(ITEM_POPULARITY, fitted, fit=fit)
    found = {split: _rank_split(io, config, histories, fit, split) for fit, split in SPLIT_OF_FIT.items()}
    settings = dataclasses.asdict(config.baselines)
    io.write_json(BASELINE_RESULTS, {"format": 1, "settings": settings, "split": found})
    return {"models": len(config.baselines.ranked)}


def _rank_split(io: StageIO, config: PipelineConfig, histories: DataFrame, fit: str, split: str) -> dict[str, Any]:
    """Rank a split's queries with every model of the fit; returns the number of lists and Recall@20 of each."""
    codes = partial(load_codes, *io.path_and_content(ITEM_ID_MAP))
    popularity = FittedPopularity(*io.path_and_content(ITEM_POPULARITY, fit=fit))
    asked = io.materialise(f"asked_{split}", with_queries(histories, io.read(QUERIES, split=split)))
    positives = io.read(SEQUENCES, split=split)
    found = {}
    for name in config.baselines.ranked:
        model = build_model(name, popularity, codes, config.baselines)
        lists = io.materialise(f"{name}_{split}", rank(asked, model, codes, LIST_LENGTH))
        published = lists.filter(F.col("protocol").isin(*LIST_PROTOCOLS))
        num_lists = io.write(RANKINGS, published, model=name, split=split)
        io.write(POSITIVE_RANKS, positive_ranks(lists, positives, io.read(ITEM_ID_MAP)), model=name, split=split)
        recall = recall_by_protocol(io.read(POSITIVE_RANKS, model=name, split=split), k=20)
        found[name] = {"fit": fit, "lists": num_lists, "recall@20": recall}
    return found


STAGE = Stage(
    "baselines",
    reads=(INTERACTIONS_CLEAN, ITEM_ID_MAP, CUSTOMER_ID_MAP, SPLIT_CUTOFFS, QUERIES, SEQUENCES),
    writes=(ITEM_POPULARITY, RANKINGS, POSITIVE_RANKS, BASELINE_RESULTS),
    sections=("baselines", "sequences"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
