"""Train the ranker on the shards, rank the val and test queries by both stages, and say what the ranker does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

from recsys_spark.baselines.list_tables import ListTables, with_positives
from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import spread, with_queries
from recsys_spark.baselines.split_ranking import publish_lists
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.command_line import main
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import PARTS_OF_RANKER, RANKER_BEST, RANKER_FEATS, RANKER_JOB, SPLIT_OF_FIT
from recsys_spark.contracts.candidate_config import source_names
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.features import chosen_features
from recsys_spark.contracts.ranker_config import TWO_STAGE
from recsys_spark.contracts.ranker_file import RANKER_FILE
from recsys_spark.gpu_launch import launch
from recsys_spark.paths import on_disk, put_file, put_text
from recsys_spark.ranker.analysis import analyse
from recsys_spark.ranker.shard_scores import ScoresOf, score_part_files, with_scores
from recsys_spark.sequences.reading import read_histories
from recsys_spark.stage import Metrics, Stage, StageIO

if TYPE_CHECKING:
    from training.ranker.job import RankerJob


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    results: dict[str, Any] = {"format": 1, "trained": {}, "split": {}}
    if config.ranker.ranked:
        first, *later = PARTS_OF_RANKER
        job, found = _train(io, config, first)
        results["trained"][first] = found
        _publish(io, job, first)
        for fit in later:
            if config.ranker.refit:
                job, results["trained"][fit] = _train(io, config, fit, found)
            _publish(io, job, fit)
        scored = _score(io)
        results["split"] = _rank(io, config, scored)
        results |= analyse(io, scored, config.analysis, config.evaluation, config.seed)
    io.write_json(artifacts.RANKER_RESULTS, results)
    return {"rankers": len(results["trained"])}


def _train(
    io: StageIO, config: PipelineConfig, fit: str, first: dict[str, Any] | None = None
) -> tuple[RankerJob, dict[str, Any]]:
    """The job that trained a fit's ranker, and what it came to. first: what that of the first fit did."""
    from training.ranker.job import RankerJob  # torch, which other commands need not load
    from training.ranker.train import train_ranker

    settings = config.ranker
    sources = source_names(config.candidates.quotas, config.retriever.towers)
    features = chosen_features(config.features.set, sources)
    job = RankerJob(
        features=tuple(feature.name for feature in features),
        kinds=settings.transforms(feature.kind for feature in features),
        train_paths=tuple(io.path(RANKER_FEATS, part=part) for part in PARTS_OF_RANKER[fit]),
        dev_paths=(io.path(RANKER_FEATS, part="dev"),),
        out_folder=io.scratch(fit),
        checkpoint_folder=io.checkpoint_folder(fit),
        seed=config.seed,
        config=settings,
        tracking_folder=io.run_folder,
    )
    if first:
        job = job.again(first)
    found = launch(io.spark, train_ranker, job, num_processes=settings.num_trainers, launcher=settings.launcher)
    return job, found


def _publish(io: StageIO, job: RankerJob, fit: str) -> None:
    """A fit's ranker and the job that trained it, which may be that of another fit."""
    from training.jobs import text_to_run_anew

    with on_disk(job.out_folder) as local:
        io.write_file(RANKER_BEST, partial(put_file, f"{local}/{RANKER_FILE}"), fit=fit)
    io.write_file(RANKER_JOB, partial(put_text, text_to_run_anew(job, f"ranker_{fit}")), fit=fit)


def _score(io: StageIO) -> dict[str, DataFrame]:
    """The scored candidates of val and test, which are ranked and looked at in several ways."""
    found = {}
    for fit, split in SPLIT_OF_FIT.items():
        ranker = FittedFile(*io.path_and_content(RANKER_BEST, fit=fit))
        scored = score_part_files(io.spark, io.path(RANKER_FEATS, part=split), ranker)
        found[split] = io.materialise(f"scored_{split}", scored)
    return found


def _rank(io: StageIO, config: PipelineConfig, scored: dict[str, DataFrame]) -> dict[str, Any]:
    """Rank the queries of val and test; returns of each split what `publish_lists` tells."""
    histories, found = read_histories(io, config.sequences.merge_minutes), {}
    codes = partial(load_codes, *io.path_and_content(artifacts.ITEM_ID_MAP))
    for fit, split in SPLIT_OF_FIT.items():
        popularity = FittedPopularity(*io.path_and_content(artifacts.ITEM_POPULARITY, fit=fit))
        queries, positives = io.read(artifacts.QUERIES, split=split), io.read(artifacts.SEQUENCES, split=split)
        asked = with_scores(with_positives(with_queries(histories, queries), positives), queries, scored[split])
        kernels = {TWO_STAGE: ListTables(ScoresOf(popularity), codes)}
        found[split] = publish_lists(io, spread(asked), kernels, fit, split)[TWO_STAGE]
    return found


STAGE = Stage(
    "train_ranker",
    reads=(
        *artifacts.PURCHASE_TABLES,
        artifacts.QUERIES,
        artifacts.SEQUENCES,
        artifacts.ITEM_POPULARITY,
        artifacts.CANDIDATES,
        RANKER_FEATS,
    ),
    writes=(RANKER_BEST, RANKER_JOB, artifacts.RANKINGS, artifacts.POSITIVE_RANKS, artifacts.RANKER_RESULTS),
    sections=("ranker", "analysis", "candidates", "features", "retriever", "sequences", "evaluation"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
