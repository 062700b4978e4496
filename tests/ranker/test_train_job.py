"""What the jobs give to the training of a ranker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import ablate, train_ranker
from recsys_spark.contracts.artifacts import PARTS_OF_RANKER, Artifact
from recsys_spark.contracts.features import chosen_features
from recsys_spark.contracts.load_config import load_config
from recsys_spark.contracts.ranker_file import RANKER_FILE
from recsys_spark.ranker.ablations import variants

pytestmark = pytest.mark.torch


class Run:
    """Stands for a StageIO: every artifact is there."""

    spark = None

    def __init__(self, folder: Path) -> None:
        self.run_folder = str(folder)

    def path(self, artifact: Artifact, **keys: str) -> str:
        return f"{self.run_folder}/{artifact.path_of(**keys)}"

    def write_file(self, artifact: Artifact, write: Callable[[str], None], **keys: str) -> None:
        Path(self.path(artifact, **keys)).parent.mkdir(exist_ok=True)
        write(self.path(artifact, **keys))

    def scratch(self, name: str) -> str:
        return f"{self.run_folder}/{name}"

    checkpoint_folder = scratch


@pytest.fixture
def launched(monkeypatch) -> list[dict[str, Any]]:
    """The job and the number of processes of each training, none of which takes place."""
    found = []

    def launch(spark: None, train: Any, job: Any, **options: Any) -> dict[str, Any]:
        found.append({"job": job, **options})
        Path(job.out_folder).mkdir()
        Path(job.out_folder, RANKER_FILE).write_bytes(b"")
        return {}

    for module in (train_ranker, ablate):
        monkeypatch.setattr(module, "launch", launch)
    return found


@pytest.mark.parametrize(("model", "expected"), [("mlp", 4), ("lambdarank", 1), ("binary", 1)])
def test_trees_are_trained_by_one_process_whatever_the_number(tmp_path, launched, model, expected):
    config = load_config(pairs=["ranker.num_processes=4", f"ranker.model={model}"])
    train_ranker._train(Run(tmp_path), config, "train")
    (whole,) = variants([], chosen_features("full"), {}, config.ranker)
    ablate._train(Run(tmp_path), config, whole)
    assert [each["num_processes"] for each in launched] == [expected, expected]


@pytest.mark.parametrize("refit", [True, False])
def test_each_fit_has_a_job_that_can_be_run_after_the_stage(tmp_path, launched, refit):
    from training.ranker.job import RankerJob

    run, config, job = Run(tmp_path), load_config(), None
    for fit in PARTS_OF_RANKER:
        if refit or job is None:
            job, _ = train_ranker._train(run, config, fit)
        train_ranker._publish(run, job, fit)
    for fit in PARTS_OF_RANKER:
        told = RankerJob.from_json((tmp_path / f"fit={fit}" / "ranker_job.json").read_text())
        trained = launched[list(PARTS_OF_RANKER).index(fit) if refit else 0]["job"]
        folders = {"out_folder": f"ranker_{fit}", "checkpoint_folder": f"ranker_{fit}_checkpoints"}
        assert told == replace(trained, tracking_folder=".", **folders)


def test_curves_of_rankers_stay_below_the_run(tmp_path, launched):
    train_ranker._train(Run(tmp_path), load_config(), "train")
    assert launched[0]["job"].tracking_folder == str(tmp_path)
