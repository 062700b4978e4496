"""Hands a pipeline's settings, figures and documents to MLflow, when asked for: a run, with one within it per stage.

Tracking never decides about a run: where the tracking server fails, a warning says so once and the work goes on.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from recsys_spark.contracts.artifacts import EVALUATION
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.dotted import flat
from recsys_spark.contracts.errors import ConfigError, LockedError
from recsys_spark.contracts.tracking_config import TrackingConfig
from recsys_spark.evaluation.ranking_metrics import HEADLINE
from recsys_spark.manifest import digest_of
from recsys_spark.runs.record import RunRecord, config_values
from recsys_spark.stage import Outcome
from recsys_spark.storage import Storage

log = logging.getLogger("recsys")

Report = Callable[[Outcome], None]
TrackStage = Callable[[str], AbstractContextManager[Report]]
_DOCUMENTS = (".json", ".html")  # outputs that are sent along; tables stay where they are
# Of MLflow's client, for the first question alone: its seven retries take four minutes where no server answers.
_FIRST_QUESTION = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_DATABRICKS_FOLDER = "/Shared/"  # there an experiment is named by its path in the workspace


class TrackedWork(Protocol):
    """What tracking needs of a command at work; see `runs.work.Work`."""

    storage: Storage
    record: RunRecord

    def keep(self, record: RunRecord) -> None:
        """Replace the record and run.json."""


@contextmanager
def tracked_run(config: PipelineConfig, work: TrackedWork) -> Iterator[TrackStage]:
    """Yields what opens a stage's own run and there takes its outcome; does nothing unless tracking.kind is mlflow.

    Commands that work in the same run with the same settings share one run of MLflow, whose id run.json keeps. Raises
    ConfigError where MLflow is asked for and not installed.
    """
    if config.tracking.kind == "none":
        yield _untracked
        return
    tracker = _Tracker(_mlflow(), config.tracking, work)
    settings = {name: value for name, value in config_values(config).items() if name != "tracking"}
    with tracker.opened(config.tracking.run_name or work.record.id, flat(settings)):
        yield tracker.stage


def headline_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Recall@20 of every model on test, by a name such as all_items.two_stage.recall_at_20."""
    protocols = evaluation["split"]["test"]["protocols"]
    return {
        f"{protocol}.{model}.{_name(HEADLINE.label)}": means[HEADLINE.section][HEADLINE.label]
        for protocol in LIST_PROTOCOLS
        for model, means in protocols[protocol]["models"].items()
        if means[HEADLINE.section][HEADLINE.label] is not None
    }


@contextmanager
def _untracked(_: str) -> Iterator[Report]:
    yield lambda _: None


def _mlflow() -> Any:
    try:
        import mlflow
    except ImportError:
        raise ConfigError("tracking.kind is mlflow, which is not installed: install the extra mlflow") from None
    return mlflow


@contextmanager
def _impatient() -> Iterator[None]:
    """Ask as _FIRST_QUESTION says, but for what the environment sets itself."""
    own = {name: value for name, value in _FIRST_QUESTION.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


class _Tracker:
    def __init__(self, mlflow: Any, options: TrackingConfig, work: TrackedWork) -> None:
        self._mlflow, self._options, self._work = mlflow, options, work
        self._is_lost = False

    @contextmanager
    def opened(self, name: str, parameters: Mapping[str, Any]) -> Iterator[None]:
        """The run of the whole pipeline; it ends as failed where the work does."""
        if self._options.uri:
            self._tell(lambda: self._mlflow.set_tracking_uri(self._options.uri))
        with _impatient():
            self._tell(lambda: self._mlflow.set_experiment(self._experiment()))
        with self._ending():
            self._tell(lambda: self._go_on_or_start(name, dict(parameters)))
            yield

    @contextmanager
    def stage(self, name: str) -> Iterator[Report]:
        """The run of one stage within that of the pipeline."""
        with self._ending():
            self._tell(lambda: self._mlflow.start_run(run_name=name, nested=True))
            yield self._report

    def _experiment(self) -> str:
        is_databricks = str(self._mlflow.get_tracking_uri()).startswith("databricks")
        name = self._options.experiment
        return f"{_DATABRICKS_FOLDER}{name}" if is_databricks and not name.startswith("/") else name

    def _go_on_or_start(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Open MLflow's run of an earlier command with the same settings, which cannot change there, or a new one."""
        settings = digest_of([self._options.uri, self._options.experiment, name, parameters])
        known = self._work.record.tracking
        if known.get("settings") == settings and self._reopened(known["run"]):
            return
        run = self._mlflow.start_run(run_name=name)
        self._mlflow.log_params(parameters)
        self._work.keep(replace(self._work.record, tracking={"run": run.info.run_id, "settings": settings}))

    def _reopened(self, run_id: str) -> bool:
        try:
            self._mlflow.start_run(run_id=run_id)
        except Exception as error:  # it was deleted there, for one
            log.info("tracking: a new run of MLflow, for %s cannot be gone on with: %s", run_id, error)
            return False
        return True

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """End the run that the block opens, as what came of the block."""
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            self._tell(lambda: self._mlflow.end_run(status))

    def _report(self, outcome: Outcome) -> None:
        numbers = flat(outcome.metrics)
        metrics = {_name(key): float(value) for key, value in numbers.items() if isinstance(value, int | float)}
        self._tell(lambda: self._mlflow.log_metrics({**metrics, "seconds": outcome.seconds}))
        self._tell(lambda: self._mlflow.set_tag("skipped", str(outcome.skipped).lower()))
        record = self._work.storage.stage_record(outcome.stage) or {"outputs": {}}
        for label in sorted(record["outputs"]):
            if label.endswith(_DOCUMENTS):
                self._tell(partial(self._send, label))

    def _send(self, label: str) -> None:
        text = self._work.storage.read_text(label)
        self._mlflow.log_text(text, label)
        if label == EVALUATION.path:
            self._mlflow.log_metrics(headline_metrics(json.loads(text)))

    def _tell(self, tell: Callable[[], Any]) -> None:
        if self._is_lost:
            return
        try:
            tell()
        except LockedError:  # not of MLflow: the run is another process's by now
            raise
        except Exception as error:  # whatever a server, a store or the network makes of it
            self._is_lost = True
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            log.warning("tracking: MLflow cannot be reached, the run goes on without it: %s", first_line)


def _name(metric: str) -> str:
    """As MLflow allows it."""
    return metric.replace("@", "_at_")
