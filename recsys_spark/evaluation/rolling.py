"""One split and one seed prove little: the same pipeline with its cutoffs moved back, or with other seeds."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from recsys_spark.contracts.artifacts import EVALUATION, SPLIT_CUTOFFS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.evaluation.protocols import PROTOCOLS
from recsys_spark.evaluation.ranking_metrics import METRICS, metric_of
from recsys_spark.stage import Stage, run_stage
from recsys_spark.storage import Storage

_CUTOFFS = ("fold_end", "train_end", "val_end")
log = logging.getLogger("recsys")


def run_folds(stages: Sequence[Stage], config: PipelineConfig, first: Storage, folds: int) -> dict[str, Any]:
    """Evaluate `folds` origins, of which the first is the run itself; returns their spread on test.

    stages: all stages up to and with `evaluate`, in order, done in `first`. Every moved run is a whole run in its own
    folder below the root, so that also what cleaning fits is refitted; what is up to date is not run again.
    """
    moved = fold_configs(config, first.read_json(SPLIT_CUTOFFS.path), folds)
    storages = [first, *(run_stages(stages, each, first) for each in moved)]
    names = [f"models fitted up to {storage.read_json(SPLIT_CUTOFFS.path)['val_end']}" for storage in storages]
    return {"runs": names, "protocols": spread([storage.read_json(EVALUATION.path) for storage in storages])}


def run_seeds(stages: Sequence[Stage], config: PipelineConfig, first: Storage, seeds: int) -> dict[str, Any]:
    """The same with the run's seed and the `seeds` - 1 that follow it: what random starts alone do to a mean."""
    moved = seed_configs(config, seeds)
    storages = [first, *(run_stages(stages, each, first) for each in moved)]
    names = [f"seed {each.seed}" for each in (config, *moved)]
    return {"runs": names, "protocols": spread([storage.read_json(EVALUATION.path) for storage in storages])}


def run_stages(stages: Sequence[Stage], config: PipelineConfig, first: Storage) -> Storage:
    """Run what is not up to date in the folder that the config names; returns where the artifacts are."""
    log.info("run at %s", config.paths.processed)
    storage = Storage(config.paths.processed, first.spark)
    for stage in stages:
        run_stage(stage, config, storage)
    return storage


def seed_configs(config: PipelineConfig, seeds: int) -> list[PipelineConfig]:
    """The configs of the seeds behind that of the run."""
    return [
        replace(_below(config, f"seeds/{config.seed + number}"), seed=config.seed + number)
        for number in range(1, seeds)
    ]


def fold_configs(config: PipelineConfig, cutoffs: Mapping[str, str], folds: int) -> list[PipelineConfig]:
    """The configs of folds 1, 2, ...: all cutoffs moved back by that many times the length of val.

    cutoffs: split_cutoffs.json of the run. The test of a moved fold is as long as val and ends where the test of the
    fold before begins.
    """
    times = {name: datetime.fromisoformat(text) for name, text in cutoffs.items()}
    step = times["val_end"] - times["train_end"]
    moved = []
    for number in range(1, folds):
        fold_end, train_end, val_end = (_iso(times[name] - number * step) for name in _CUTOFFS)
        test_end = _iso(times["val_end"] - (number - 1) * step)
        moved.append(
            replace(
                _below(config, f"folds/{number}"),
                split=replace(config.split, fold_end=fold_end, train_end=train_end, val_end=val_end),
                evaluation=replace(config.evaluation, test_end=test_end),
            )
        )
    return moved


def spread(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every test mean over the folds: its values in order, their mean and standard deviation (n - 1)."""
    found: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        by_fold = [evaluation["split"]["test"]["protocols"][protocol]["models"] for evaluation in evaluations]
        for model in by_fold[0]:
            sections = found.setdefault(protocol, {}).setdefault(model, {})
            for metric in METRICS:
                values = [metric_of(models[model], metric) for models in by_fold]
                sections.setdefault(metric.section, {})[metric.label] = _spread_of(values)
    return found


def _spread_of(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "values": list(values),
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
    }


def _below(config: PipelineConfig, folder: str) -> PipelineConfig:
    return replace(config, paths=replace(config.paths, processed=f"{config.paths.processed.rstrip('/')}/{folder}"))


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")
