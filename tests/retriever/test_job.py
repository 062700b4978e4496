"""What the job gives to the training of a tower."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.train_retriever import job_of
from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.contracts.load_config import load_config
from recsys_spark.retriever.inputs import EARLY, PARTS_OF_FIT, FitInputs

pytestmark = pytest.mark.torch

EARLY_RESULTS = {"best_epoch": 2, "curve": [{"learning_rate": rate} for rate in (0.2, 0.1, 0.05)]}


class Run:
    """Stands for a StageIO: every artifact is there."""

    run_folder = "/runs/7"

    def num_rows(self, artifact: Artifact) -> int:
        return 9

    def path(self, artifact: Artifact, **keys: str) -> str:
        return f"{self.run_folder}/{artifact.path_of(**keys)}"


def job(fit: str, early_results: dict[str, Any] | None = None, *pairs: str) -> SimpleNamespace:
    config = load_config(pairs=["sequences.hist_max=7", "queries.hist_max=8", *pairs])
    return job_of(Run(), config, FitInputs(fit, num_periods=3), "all", ("out", "checkpoints"), early_results)


PARTS = {  # by hand: each fit learns from what lies before its own end, the early one from nothing of the dev slice
    "fold": ("fold",),
    "early": ("fold", "early"),
    "train": ("fold", "early", "dev"),
    "val": ("fold", "early", "dev", "val"),
    "full": ("fold", "early", "dev", "val", "test"),
}


def test_a_fit_learns_from_no_part_behind_its_end():
    assert PARTS_OF_FIT == PARTS
    told = {fit: job(fit, None if fit == EARLY else EARLY_RESULTS).train_paths for fit in PARTS}
    assert told == {
        fit: tuple(f"/runs/7/tower_examples_queries_{part}.parquet" for part in parts) for fit, parts in PARTS.items()
    }


def test_the_early_fit_counts_epochs_and_the_others_take_as_many():
    early, other = job(EARLY), job("train", EARLY_RESULTS)
    assert [Path(path).name for path in early.dev_paths] == ["tower_examples_queries_dev.parquet"]
    assert (early.num_epochs, early.learning_rates) == (0, ())
    assert (other.dev_paths, other.num_epochs, other.learning_rates) == ((), 2, (0.2, 0.1, 0.05))


def test_a_tower_is_given_histories_as_long_as_those_it_learns_from():
    assert job(EARLY).hist_max == 8
    assert job(EARLY, None, "retriever.all.examples=sequences").hist_max == 7


def test_curves_stay_below_the_run():
    assert job(EARLY, None, "retriever.tracking=tensorboard").tracking_folder == Run.run_folder
