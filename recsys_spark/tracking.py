"""Hands a pipeline's settings, figures and documents to MLflow, when asked for: a run, with one within it per stage.

Tracking never decides about a run: where the tracking server fails, a warning says so once and the work goes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from recsys_spark.contracts.artifacts import EVALUATION
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.dotted import flat
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.tracking_config import TrackingConfig
from recsys_spark.evaluation.ranking_metrics import HEADLINE
from recsys_spark.runs.record import config_values
from recsys_spark.stage import Outcome
from recsys_spark.storage import Storage

log = logging.getLogger("recsys")

Report = Callable[[Outcome], None]
TrackStage = Callable[[str], AbstractContextManager[Report]]
_DOCUMENTS = (".json", ".html")  # outputs that are sent along; tables stay where they are


@contextmanager
def tracked_run(config: PipelineConfig, storage: Storage, run_id: str) -> Iterator[TrackStage]:
    """Yields what opens a stage's own run and there takes its outcome; does nothing unless tracking.kind is mlflow.

    run_id: names the run unless tracking.run_name does. Raises ConfigError where MLflow is asked for and not installed.
    """
    if config.tracking.kind == "none":
        yield _untracked
        return
    tracker = _Tracker(_mlflow(), config.tracking, storage)
    settings = {name: value for name, value in config_values(config).items() if name != "tracking"}
    with tracker.opened(config.tracking.run_name or run_id, flat(settings)):
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


class _Tracker:
    def __init__(self, mlflow: Any, options: TrackingConfig, storage: Storage) -> None:
        self._mlflow, self._options, self._storage = mlflow, options, storage
        self._is_lost = False

    @contextmanager
    def opened(self, name: str, parameters: Mapping[str, Any]) -> Iterator[None]:
        """The run of the whole pipeline; it ends as failed where the work does."""
        if self._options.uri:
            self._told(lambda: self._mlflow.set_tracking_uri(self._options.uri))
        self._told(lambda: self._mlflow.set_experiment(self._options.experiment))
        with self._run(name, nested=False):
            self._told(lambda: self._mlflow.log_params(dict(parameters)))
            yield

    @contextmanager
    def stage(self, name: str) -> Iterator[Report]:
        """The run of one stage within that of the pipeline."""
        with self._run(name, nested=True):
            yield self._report

    @contextmanager
    def _run(self, name: str, nested: bool) -> Iterator[None]:
        self._told(lambda: self._mlflow.start_run(run_name=name, nested=nested))
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            self._told(lambda: self._mlflow.end_run(status))

    def _report(self, outcome: Outcome) -> None:
        numbers = flat(outcome.metrics)
        metrics = {_name(key): float(value) for key, value in numbers.items() if isinstance(value, int | float)}
        self._told(lambda: self._mlflow.log_metrics({**metrics, "seconds": outcome.seconds}))
        self._told(lambda: self._mlflow.set_tag("skipped", str(outcome.skipped).lower()))
        record = self._storage.stage_record(outcome.stage) or {"outputs": {}}
        for label in sorted(record["outputs"]):
            if label.endswith(_DOCUMENTS):
                self._told(partial(self._send, label))

    def _send(self, label: str) -> None:
        text = self._storage.read_text(label)
        self._mlflow.log_text(text, label)
        if label == EVALUATION.path:
            self._mlflow.log_metrics(headline_metrics(json.loads(text)))

    def _told(self, tell: Callable[[], Any]) -> None:
        if self._is_lost:
            return
        try:
            tell()
        except Exception as error:  # whatever a server, a store or the network makes of it
            self._is_lost = True
            told = (str(error).strip().splitlines() or [type(error).__name__])[0]
            log.warning("tracking: MLflow cannot be reached, the run goes on without it: %s", told)


def _name(metric: str) -> str:
    """As MLflow allows it."""
    return metric.replace("@", "_at_")
