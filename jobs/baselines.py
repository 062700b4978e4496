"""Fit the baselines and rank the val and test queries with them."""

from __future__ import annotations

import dataclasses
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.fitting import Fit, fitted_tables, write_tables
from recsys_spark.baselines.query_batches import with_queries
from recsys_spark.baselines.ranking import rank
from recsys_spark.baselines.registry import ModelSettings, build_model
from recsys_spark.command_line import main
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import BASELINE_RESULTS, ITEM_ID_MAP, POSITIVE_RANKS, QUERIES, RANKINGS, SEQUENCES
from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.evaluation.protocols import positive_ranks, recall_by_protocol
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.split import cutoffs_of_fits
from recsys_spark.stage import Metrics, Stage, StageIO

SOURCES = (artifacts.INTERACTIONS_CLEAN, ITEM_ID_MAP, artifacts.CUSTOMER_ID_MAP)


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    settings = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    models, merge_minutes = config.baselines.ranked, config.sequences.merge_minutes
    interactions, item_ids, customer_ids = (io.read(table) for table in SOURCES)
    histories = io.materialise("histories", customer_histories(interactions, item_ids, customer_ids, merge_minutes))
    facts = {
        name: write_tables(Fit(io, name, cutoff_time, histories, settings, config.seed), models)
        for name, cutoff_time in cutoffs_of_fits(io.read_json(artifacts.SPLIT_CUTOFFS)).items()
    }
    splits = artifacts.SPLIT_OF_FIT.items()
    found = {split: _rank_split(io, settings, histories, fit, split) for fit, split in splits}
    results = {"format": 1, "settings": dataclasses.asdict(settings), "fit": facts, "split": found}
    io.write_json(BASELINE_RESULTS, results)
    return {"models": len(models)}


def _rank_split(io: StageIO, settings: ModelSettings, histories: DataFrame, fit: str, split: str) -> dict[str, Any]:
    """Rank a split's queries with every model of the fit; returns the number of lists and Recall@20 of each."""
    models = settings.baselines.ranked
    fitted = fitted_tables(io, fit, models, settings)
    asked = io.materialise(f"asked_{split}", with_queries(histories, io.read(QUERIES, split=split)))
    positives = io.read(SEQUENCES, split=split)
    found = {}
    for name in models:
        model = build_model(name, fitted, settings)
        lists = io.materialise(f"{name}_{split}", rank(asked, model, fitted.codes, LIST_LENGTH))
        published = lists.filter(F.col("protocol").isin(*LIST_PROTOCOLS))
        num_lists = io.write(RANKINGS, published, model=name, split=split)
        io.write(POSITIVE_RANKS, positive_ranks(lists, positives, io.read(ITEM_ID_MAP)), model=name, split=split)
        recall = recall_by_protocol(io.read(POSITIVE_RANKS, model=name, split=split), k=20)
        found[name] = {"fit": fit, "lists": num_lists, "recall@20": recall}
    return found


STAGE = Stage(
    "baselines",
    reads=(*SOURCES, artifacts.SPLIT_CUTOFFS, QUERIES, SEQUENCES),
    writes=(artifacts.ITEM_POPULARITY, *artifacts.MODEL_TABLES, RANKINGS, POSITIVE_RANKS, BASELINE_RESULTS),
    sections=("baselines", "knn", "ease", "tifu", "nmf", "sequences"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
