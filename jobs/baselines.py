"""Fit the baselines and rank the val and test queries with them."""

from __future__ import annotations

from functools import partial

from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.popularity import FittedPopularity, fit_popularity
from recsys_spark.baselines.query_batches import with_queries
from recsys_spark.baselines.ranking import rank
from recsys_spark.baselines.registry import build_model
from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
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
from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.split import cutoffs_of_fits
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    interactions, item_ids = io.read(INTERACTIONS_CLEAN), io.read(ITEM_ID_MAP)
    merge_minutes = config.sequences.merge_minutes
    merged = customer_histories(interactions, item_ids, io.read(CUSTOMER_ID_MAP), merge_minutes)
    histories = io.materialise("histories", merged)
    codes = partial(load_codes, *io.path_and_content(ITEM_ID_MAP))
    for fit, cutoff_time in cutoffs_of_fits(io.read_json(SPLIT_CUTOFFS)).items():
        fitted = fit_popularity(interactions, item_ids, cutoff_time, config.baselines.recent_days)
        io.write(ITEM_POPULARITY, fitted, fit=fit)
        if fit not in SPLIT_OF_FIT:
            continue
        split = SPLIT_OF_FIT[fit]
        popularity = FittedPopularity(*io.path_and_content(ITEM_POPULARITY, fit=fit))
        asked = io.materialise(f"asked_{split}", with_queries(histories, io.read(QUERIES, split=split)))
        positives = io.read(SEQUENCES, split=split)
        for name in config.baselines.models:
            model = build_model(name, popularity, config.baselines)
            io.write(RANKINGS, rank(asked, model, codes, LIST_LENGTH), model=name, split=split)
            ranks = positive_ranks(io.read(RANKINGS, model=name, split=split), positives, item_ids)
            io.write(POSITIVE_RANKS, ranks, model=name, split=split)
    return {"models": len(config.baselines.models)}


STAGE = Stage(
    "baselines",
    reads=(INTERACTIONS_CLEAN, ITEM_ID_MAP, CUSTOMER_ID_MAP, SPLIT_CUTOFFS, QUERIES, SEQUENCES),
    writes=(ITEM_POPULARITY, RANKINGS, POSITIVE_RANKS),
    sections=("baselines", "sequences"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
