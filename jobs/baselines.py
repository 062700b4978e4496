"""Fit the baselines and rank the val and test queries with them."""

from __future__ import annotations

import dataclasses
from typing import Any

from recsys_spark.baselines.fitting import Fit, write_tables
from recsys_spark.baselines.item_content import item_content
from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.baselines.rolling import item_days
from recsys_spark.baselines.split_ranking import choose_settings, rank_split
from recsys_spark.candidates.sources import models_behind
from recsys_spark.command_line import main
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.sequences.reading import read_histories, read_purchases
from recsys_spark.sequences.split import cutoffs_of_fits
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    settings = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    models = config.baselines.ranked
    fitted = (*models, *models_behind(config.candidates.quotas))  # sources of candidates need not be ranked alone
    interactions, item_ids, _ = purchases = read_purchases(io)
    minutes, places = config.sequences.merge_minutes, config.baselines.uses_segments
    histories = read_histories(io, minutes, purchases, with_places=places)
    io.write(artifacts.ITEM_DAYS, item_days(interactions, item_ids))
    if config.baselines.new_items:
        io.write(artifacts.ITEM_CONTENT, item_content(interactions, item_ids))
    facts = {
        name: write_tables(Fit(io, name, cutoff_time, histories, settings, config.seed), fitted)
        for name, cutoff_time in cutoffs_of_fits(io.read_json(artifacts.SPLIT_CUTOFFS)).items()
    }
    tuning: dict[str, Any] = {"chosen": {}}
    if config.baselines.tune:
        tuning = choose_settings(io, settings, histories, fit="train", split="val")
    splits = artifacts.SPLIT_OF_FIT.items()
    found = {split: rank_split(io, settings, tuning["chosen"], histories, fit, split) for fit, split in splits}
    results = {"format": 1, "settings": dataclasses.asdict(settings), "fit": facts, "tuning": tuning, "split": found}
    io.write_json(artifacts.BASELINE_RESULTS, results)
    return {"models": len(models)}


SWITCHES = {"--tune": "baselines.tune=true"}
LISTS = (artifacts.RANKINGS, artifacts.POSITIVE_RANKS)
STAGE = Stage(
    "baselines",
    reads=(*artifacts.PURCHASE_TABLES, artifacts.SPLIT_CUTOFFS, artifacts.QUERIES, artifacts.SEQUENCES),
    writes=(artifacts.ITEM_POPULARITY, *artifacts.MODEL_TABLES, *LISTS, artifacts.BASELINE_RESULTS),
    sections=("baselines", "knn", "ease", "tifu", "nmf", "sequences", "candidates"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE, SWITCHES)
