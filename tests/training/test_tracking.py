"""Figures of epochs on their way to MLflow, which a stand-in plays, and to libraries that are missing."""

from __future__ import annotations

import builtins
import contextlib
import sys
from types import SimpleNamespace

import pyarrow  # noqa: F401  before torch
import pytest

from recsys_spark.contracts.errors import ConfigError
from training.tracking import tracker

pytestmark = pytest.mark.torch

ENTRY = {"epoch": 2.0, "loss": 0.5, "recall@20": 0.1}


class StandIn:
    """Refuses, as MLflow does, a parameter that its run has with another value."""

    def __init__(self) -> None:
        self.runs: list[SimpleNamespace] = []

    @contextlib.contextmanager
    def start_run(self, run_name: str, nested: bool):
        assert nested
        self.runs.append(SimpleNamespace(name=run_name, parameters={}, metrics=[]))
        yield

    def log_params(self, parameters: dict) -> None:
        known = self.runs[-1].parameters
        assert all(known.get(name, value) == value for name, value in parameters.items())
        known.update(parameters)

    def log_metrics(self, metrics: dict, step: int) -> None:
        assert not any("@" in name for name in metrics)
        self.runs[-1].metrics.append((step, metrics))


def test_two_trainings_of_one_process_are_two_runs_of_mlflow(monkeypatch):
    mlflow = StandIn()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    for name, temperature in (("all_val", 0.15), ("first_val", 0.25)):
        with tracker("mlflow", ".", name, {"temperature": temperature}) as report:
            report(ENTRY)
    assert [run.name for run in mlflow.runs] == ["all_val", "first_val"]
    assert mlflow.runs[1].parameters == {"temperature": 0.25}
    assert mlflow.runs[1].metrics == [(2, {"epoch": 2.0, "loss": 0.5, "recall_at_20": 0.1})]


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
