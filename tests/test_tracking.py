"""Settings, figures and documents reach a real MLflow store, and a store that fails stops nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.tracking_config import TrackingConfig
from recsys_spark.stage import Outcome
from recsys_spark.tracking import headline_metrics, tracked_run

SEEDED = replace(PipelineConfig(), seed=7)


class Published:
    """Storage's three verbs over one document."""

    text = json.dumps({"lines": 3})

    def stage_record(self, stage: str) -> dict:
        return {"outputs": {"cleaning_report.json": "x", "interactions_clean.parquet": "y"}} if stage == "clean" else {}

    def read_text(self, label: str) -> str:
        assert label == "cleaning_report.json"
        return self.text


def tracked(uri: str) -> PipelineConfig:
    return replace(SEEDED, tracking=TrackingConfig(kind="mlflow", uri=uri, run_name="nightly"))


@pytest.fixture
def store(tmp_path, monkeypatch) -> str:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file://{tmp_path}/store"


def runs_of(store: str) -> dict:
    import mlflow

    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("recsys")
    assert experiment is not None
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_a_pipeline_is_a_run_with_one_within_it_per_stage(store, tmp_path):
    with tracked_run(tracked(store), Published(), "r1") as stage, stage("clean") as report:
        report(Outcome("clean", False, {"lines_kept": 3, "rule": "return", "of": {"recall@20": 0.5}}, 1.5))
    found = runs_of(store)
    whole, clean = found["nightly"], found["clean"]
    assert whole.data.params["seed"] == "7"
    assert whole.data.params["clean.outliers.multiplier"] == "3.0"
    assert not any(name.startswith("tracking") for name in whole.data.params)  # an address may hold a password
    assert clean.data.tags["mlflow.parentRunId"] == whole.info.run_id
    assert clean.data.metrics == {"lines_kept": 3, "of.recall_at_20": 0.5, "seconds": 1.5}
    assert [run.info.status for run in (whole, clean)] == ["FINISHED", "FINISHED"]
    sent = list((tmp_path / "store").rglob("cleaning_report.json"))
    assert [path.read_text() for path in sent] == [Published.text]


@pytest.mark.parametrize(("fault", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_ends_as_what_it_was(store, fault, status):
    with pytest.raises(fault), tracked_run(tracked(store), Published(), "r1") as stage, stage("clean"):
        raise fault
    assert {run.info.status for run in runs_of(store).values()} == {status}


def test_a_store_that_cannot_be_reached_is_a_warning_once(tmp_path, monkeypatch, caplog):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with tracked_run(tracked("http://127.0.0.1:9"), Published(), "r1") as stage:
        for name in ("clean", "entities"):
            with stage(name) as report:
                report(Outcome(name, False, {"rows": 1}, 1.0))
    assert [record.message[:34] for record in caplog.records] == ["tracking: MLflow cannot be reached"]


def test_without_mlflow_only_who_asks_for_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with tracked_run(SEEDED, Published(), "r1") as stage, stage("clean") as report:
        report(Outcome("clean", False, {}, 0.0))
    with pytest.raises(ConfigError, match="install the extra mlflow"), tracked_run(tracked("x"), Published(), "r1"):
        pass


def test_headlines_are_named_as_mlflow_allows():
    means = {"per_positive": {"recall@20": 0.25}}
    evaluation = {
        "split": {
            "test": {"protocols": {name: {"models": {"ease": means}} for name in ("all_items", "first_purchase")}}
        }
    }
    assert headline_metrics(evaluation) == {
        "all_items.ease.recall_at_20": 0.25,
        "first_purchase.ease.recall_at_20": 0.25,
    }
