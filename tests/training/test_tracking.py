"""Figures of epochs on their way to a real MLflow store, and to libraries that are missing."""

from __future__ import annotations

import builtins

import pyarrow  # noqa: F401  before torch
import pytest

from recsys_spark.contracts.errors import ConfigError
from training.tracking import tracker

pytestmark = pytest.mark.torch

ENTRY = {"epoch": 2.0, "loss": 0.5, "recall@20": 0.1}


def test_two_trainings_of_one_process_are_two_runs_of_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file://{tmp_path}/store")
    experiment = mlflow.set_experiment("towers").experiment_id
    for name, temperature in (("all_val", 0.15), ("first_val", 0.25)):
        with tracker("mlflow", ".", name, {"temperature": temperature}) as report:
            report(ENTRY)
    runs = {run.info.run_name: run.data for run in mlflow.MlflowClient().search_runs([experiment])}
    assert {name: run.params for name, run in runs.items()} == {
        "all_val": {"temperature": "0.15"},
        "first_val": {"temperature": "0.25"},
    }
    assert runs["first_val"].metrics == {"epoch": 2.0, "loss": 0.5, "recall_at_20": 0.1}


@pytest.mark.parametrize("kind", ["mlflow", "tensorboard"])
def test_a_library_that_is_missing_is_named(monkeypatch, kind):
    found = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.split(".")[0] == "mlflow" or name == "torch.utils.tensorboard":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        pytest.raises(ConfigError, match=f"retriever.tracking is {kind}, which is not installed"),
        tracker(kind, ".", "all", {}),
    ):
        pass


def test_without_tracking_nothing_is_reported():
    with tracker("none", ".", "all", {}) as report:
        report(ENTRY)


def test_a_store_that_cannot_be_reached_is_told_once_and_ends_nothing(monkeypatch, caplog):
    mlflow = pytest.importorskip("mlflow")

    def unreachable(**given):
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(mlflow, "start_run", unreachable)
    with tracker("mlflow", ".", "all", {"temperature": 0.1}) as report:
        report(ENTRY)
        report(ENTRY)
    assert caplog.messages == [
        "retriever.tracking: mlflow fails, and the training goes on without: ConnectionError: nobody listens"
    ]


def test_a_store_that_is_lost_on_the_way_leaves_no_run_active(tmp_path, monkeypatch, caplog):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file://{tmp_path}/store")
    mlflow.set_experiment("towers")

    def lost(*given, **named):
        raise ConnectionError("gone")

    monkeypatch.setattr(mlflow, "log_metrics", lost)
    with tracker("mlflow", ".", "all", {}) as report:
        report(ENTRY)
        report(ENTRY)
    assert mlflow.active_run() is None
    assert len([record for record in caplog.records if record.name == "recsys"]) == 1
