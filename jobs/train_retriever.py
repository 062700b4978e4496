"""Train the two-tower models, index their item vectors, and rank the val and test queries with them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

from recsys_spark.baselines.item_knn import neighbour_options
from recsys_spark.command_line import main
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import SPLIT_OF_FIT
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.retriever_config import TowerConfig
from recsys_spark.gpu_launch import launch
from recsys_spark.retriever.co_purchases import numbered_baskets
from recsys_spark.retriever.inputs import (
    DEV,
    EARLY,
    FOLD,
    PARTS_OF_FIT,
    FitInputs,
    SharedTables,
    example_paths,
    indexed_events,
    sources_of,
    times_of_events,
    write_examples,
    write_fit,
)
from recsys_spark.retriever.periods import Grid, sales_on_grid
from recsys_spark.retriever.publish import publish_tower
from recsys_spark.retriever.rankings import rank_queries
from recsys_spark.sequences.reading import read_histories, read_purchases
from recsys_spark.sequences.split import cutoff, cutoffs_of_fits, early_end
from recsys_spark.sequences.windows import MICROS_PER_DAY
from recsys_spark.stage import Metrics, Stage, StageIO

if TYPE_CHECKING:
    from training.retriever.train import RetrieverJob

log = logging.getLogger("recsys")


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    settings = config.retriever
    results: dict[str, dict[str, Any]] = {}
    if settings.towers:
        histories, inputs = _write_inputs(io, config)
        for tower in settings.towers:
            trained = {EARLY: _train(io, config, inputs[EARLY], tower)}
            for fit in artifacts.FITS:
                trained[fit] = _train(io, config, inputs[fit], tower, trained[EARLY])
            results[tower] = {"trained": trained, "ranked": {}}
        for fit, split in SPLIT_OF_FIT.items():
            for tower, told in rank_queries(io, settings, histories, fit, split).items():
                results[tower]["ranked"][split] = told
    io.write_json(artifacts.TWOTOWER_RESULTS, {"format": 1, "towers": results})
    return {"towers": len(settings.towers)}


def _write_inputs(io: StageIO, config: PipelineConfig) -> tuple[DataFrame, dict[str, FitInputs]]:
    """Publish what the towers are trained from; returns all customers' histories and the inputs by fit."""
    settings = config.retriever
    purchases = read_purchases(io)
    histories = read_histories(io, config.sequences.merge_minutes, purchases, with_places=settings.uses_places)
    events = indexed_events(io, purchases)
    ends = {fit: cutoff(end) for fit, end in cutoffs_of_fits(io.read_json(artifacts.SPLIT_CUTOFFS)).items()}
    queries = io.read(artifacts.QUERIES, split="train")
    early = early_end(queries, settings.dev_share, ends[FOLD], "retriever.dev_share")
    first, last_of_fit = times_of_events(events, {EARLY: early, **ends})
    grid = Grid(first, settings.snapshot_days * MICROS_PER_DAY)
    sales = io.materialise("sales_on_grid", sales_on_grid(events, grid, settings.recent_days))
    uses_baskets = any(settings.tower(tower).start == "ppmi" for tower in settings.towers)
    baskets = io.materialise("baskets", numbered_baskets(events)) if uses_baskets else None
    shared = SharedTables(io, settings, events, histories, grid, sales, baskets)
    for source in sources_of(settings):
        write_examples(shared, source, ends[FOLD], early, config.seed)
    hist_max = max(_hist_max(config, settings.tower(tower)) for tower in settings.towers)
    pairs = neighbour_options(replace(config.knn, shrinkage=0.0))
    inputs = {}
    for fit, last in last_of_fit.items():
        inputs[fit] = write_fit(shared, fit, last, hist_max, pairs)
        log.info("train_retriever: inputs of fit=%s", fit)
    return histories, inputs


def _train(
    io: StageIO, config: PipelineConfig, inputs: FitInputs, tower: str, early_results: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Train a tower on one fit and, unless it is the early one, publish it.

    early_results: what the early one came to, None for that one itself.
    """
    from training.jobs import text_to_run_anew  # torch, which other commands need not load
    from training.retriever.train import train_retriever

    settings, fit, name = config.retriever, inputs.fit, f"{tower}_{inputs.fit}"
    job = job_of(io, config, inputs, tower, (io.scratch(name), io.checkpoint_folder(name)), early_results)
    found = launch(io.spark, train_retriever, job, num_processes=settings.num_processes, launcher=settings.launcher)
    if early_results is not None:
        text = text_to_run_anew(job, name)
        found["index"] = publish_tower(io, config.index, job.out_folder, tower, fit, config.seed, text)
    return found


def job_of(
    io: StageIO,
    config: PipelineConfig,
    inputs: FitInputs,
    tower: str,
    folders: tuple[str, str],
    early_results: dict[str, Any] | None = None,
) -> RetrieverJob:
    """The training of a tower on one fit. folders: for what it leaves, and for its checkpoints; early_results: see
    `_train`.
    """
    from training.retriever.train import RetrieverJob

    settings, fit, options = config.retriever, inputs.fit, config.retriever.tower(tower)
    source, (out_folder, checkpoint_folder) = options.examples, folders
    is_early, told = early_results is None, early_results or {"best_epoch": 0, "curve": ()}
    return RetrieverJob(
        tower=options,
        num_users=io.num_rows(artifacts.CUSTOMER_ID_MAP),
        num_items=io.num_rows(artifacts.ITEM_ID_MAP),
        num_periods=inputs.num_periods,
        hist_max=_hist_max(config, options),
        train_paths=example_paths(io, source, PARTS_OF_FIT[fit]),
        dev_paths=example_paths(io, source, (DEV,)) if is_early else (),
        items_path=io.path(artifacts.TOWER_ITEMS, fit=fit, source=source),
        sales_path=io.path(artifacts.ITEM_SALES, fit=fit),
        users_path=io.path(artifacts.USER_HISTORIES, fit=fit),
        co_purchases_path=io.path(artifacts.CO_PURCHASES, fit=fit) if options.start == "ppmi" else None,
        out_folder=out_folder,
        checkpoint_folder=checkpoint_folder,
        engine=settings.engine,
        seed=config.seed,
        precision=settings.precision,
        compile=settings.compile,
        clip_norm=settings.clip_norm,
        checkpoint_seconds=settings.checkpoint_seconds,
        num_epochs=told["best_epoch"],
        learning_rates=tuple(entry["learning_rate"] for entry in told["curve"]),
        tracking=settings.tracking,
        tracking_folder=io.run_folder,
    )


def _hist_max(config: PipelineConfig, tower: TowerConfig) -> int:
    return tower.hist_max(config.sequences.hist_max, config.queries.hist_max)


STAGE = Stage(
    "train_retriever",
    reads=(
        *artifacts.PURCHASE_TABLES,
        artifacts.SPLIT_CUTOFFS,
        artifacts.QUERIES,
        artifacts.SEQUENCES,
        artifacts.ITEM_POPULARITY,
    ),
    writes=(
        *artifacts.RETRIEVER_TABLES,
        *artifacts.TOWER_FILES,
        artifacts.RANKINGS,
        artifacts.POSITIVE_RANKS,
        artifacts.TWOTOWER_RESULTS,
    ),
    sections=("retriever", "index", "knn", "sequences", "queries"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
