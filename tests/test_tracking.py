"""Settings, figures and documents reach a real MLflow store, and a store that fails stops nothing."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.tracking_config import TrackingConfig
from recsys_spark.runs.record import RunRecord
from recsys_spark.stage import Outcome
from recsys_spark.tracking import headline_metrics, tracked_run

RUN = RunRecord("r1", goal="report", based_on=None, opened="")
SEEDED = replace(PipelineConfig(), seed=7)


class Published:
    """A command at work, and its storage's verbs over one document."""

    def __init__(self, record: RunRecord = RUN) -> None:
        self.storage, self.record = self, record

    def keep(self, record: RunRecord) -> None:
        self.record = record

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
    with tracked_run(tracked(store), Published()) as stage, stage("clean") as report:
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
    with pytest.raises(fault), tracked_run(tracked(store), Published()) as stage, stage("clean"):
        raise fault
    assert {run.info.status for run in runs_of(store).values()} == {status}


def test_commands_that_work_in_one_run_with_equal_settings_share_a_run_of_mlflow(store):
    work = Published()
    for name in ("clean", "entities"):  # each in a process of its own, which knows what run.json keeps
        with tracked_run(tracked(store), work) as stage, stage(name) as report:
            report(Outcome(name, False, {}, 1.0))
        work = Published(work.record)
    found = runs_of(store)
    assert found.keys() == {"nightly", "clean", "entities"}
    parent = found["nightly"].info.run_id
    assert [found[name].data.tags["mlflow.parentRunId"] for name in ("clean", "entities")] == [parent, parent]
    with tracked_run(replace(tracked(store), seed=8), work):  # settings of a run cannot change
        pass
    assert work.record.tracking["run"] != parent
    assert runs_of(store)["nightly"].info.run_id in (parent, work.record.tracking["run"])


def test_where_mlflow_no_longer_has_the_run_a_new_one_is_opened(store):
    import mlflow

    work = Published()
    with tracked_run(tracked(store), work):
        pass
    deleted = work.record.tracking["run"]
    mlflow.MlflowClient(store).delete_run(deleted)
    with tracked_run(tracked(store), work):
        pass
    assert runs_of(store)["nightly"].info.run_id == work.record.tracking["run"] != deleted


@pytest.mark.parametrize(
    ("uri", "name", "experiment"),
    [
        ("databricks", "recsys", "/Shared/recsys"),
        ("databricks://profile", "/Users/ann/recsys", "/Users/ann/recsys"),
        ("http://127.0.0.1:9", "recsys", "recsys"),
    ],
)
def test_on_databricks_a_plain_experiment_lies_in_the_shared_folder(monkeypatch, uri, name, experiment):
    mlflow, opened = SimpleNamespace(get_tracking_uri=lambda: uri), []
    for verb in ("start_run", "log_params", "end_run"):
        setattr(mlflow, verb, lambda *_, **__: SimpleNamespace(info=SimpleNamespace(run_id="1")))
    mlflow.set_experiment = opened.append
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    with tracked_run(replace(SEEDED, tracking=TrackingConfig(kind="mlflow", experiment=name)), Published()):
        pass
    assert opened == [experiment]


def test_a_store_that_cannot_be_reached_is_soon_given_up_with_one_warning(monkeypatch, caplog):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    began = time.monotonic()
    with tracked_run(tracked("http://127.0.0.1:9"), Published()) as stage:
        for name in ("clean", "entities"):
            with stage(name) as report:
                report(Outcome(name, False, {"rows": 1}, 1.0))
    assert time.monotonic() - began < 60
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    warned = [record.message for record in caplog.records if record.name == "recsys"]
    assert [message[:34] for message in warned] == ["tracking: MLflow cannot be reached"]


def test_without_mlflow_only_who_asks_for_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with tracked_run(SEEDED, Published()) as stage, stage("clean") as report:
        report(Outcome("clean", False, {}, 0.0))
    with pytest.raises(ConfigError, match="install the extra mlflow"), tracked_run(tracked("x"), Published()):
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
