"""Hands each epoch's figures to TensorBoard or MLflow, when asked for and installed. No fault there ends a training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from recsys_spark.contracts.errors import ConfigError

Report = Callable[[Mapping[str, float]], None]

log = logging.getLogger("recsys")


@contextmanager
def tracker(
    kind: str, folder: str, name: str, settings: Mapping[str, Any], section: str = "retriever"
) -> Iterator[Report]:
    """A function that takes one entry of the curve. kind: none, tensorboard or mlflow. name: of what is trained.

    section: of the config, for messages. Raises ConfigError where the library is missing. What fails later is told
    once, and figures after that are not tracked.
    """
    if kind == "tensorboard":
        with _tensorboard(f"{folder}/tensorboard/{name}", section) as report:
            yield report
    elif kind == "mlflow":
        with _mlflow(name, settings, section) as report:
            yield report
    else:
        yield lambda _: None


class _Attempts:
    """Calls that may fail, the first of which to do so is the last that is made."""

    def __init__(self, setting: str) -> None:
        self._setting, self._have_failed = setting, False

    def __call__(self, call: Callable[[], Any]) -> None:
        if self._have_failed:
            return
        try:
            call()
        except Exception as error:  # whatever a network, a server or a disk makes of it
            self._have_failed = True
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning("%s fails, and the training goes on without: %s", self._setting, told)


@contextmanager
def _tensorboard(folder: str, section: str) -> Iterator[Report]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        told = f"{section}.tracking is tensorboard, which is not installed: pip install tensorboard"
        raise ConfigError(told) from None

    attempt = _Attempts(f"{section}.tracking: tensorboard")
    writers: list[SummaryWriter] = []  # none where it cannot be opened

    def write(entry: Mapping[str, float]) -> None:
        for name, value in entry.items():
            writers[0].add_scalar(name, value, int(entry["epoch"]))
        writers[0].flush()

    attempt(lambda: writers.append(SummaryWriter(folder)))
    try:
        yield lambda entry: attempt(lambda: write(entry))
    finally:
        for writer in writers:
            attempt(writer.close)


@contextmanager
def _mlflow(name: str, settings: Mapping[str, Any], section: str) -> Iterator[Report]:
    """A run of its own, within the one that is active: a run takes each parameter only once."""
    try:
        import mlflow
    except ImportError:
        told = f"{section}.tracking is mlflow, which is not installed: install the extra mlflow"
        raise ConfigError(told) from None

    attempt = _Attempts(f"{section}.tracking: mlflow")
    runs: list[mlflow.ActiveRun] = []  # none where the store cannot be reached

    def write(entry: Mapping[str, float]) -> None:
        values = {name.replace("@", "_at_"): value for name, value in entry.items()}
        mlflow.log_metrics(values, step=int(entry["epoch"]))

    attempt(lambda: runs.append(mlflow.start_run(run_name=name, nested=True)))
    attempt(lambda: mlflow.log_params(dict(settings)))
    status = "FAILED"
    try:
        yield lambda entry: attempt(lambda: write(entry))
        status = "FINISHED"
    finally:
        if runs:  # also where the store was lost since, for the run would stay the active one
            _Attempts(f"{section}.tracking: mlflow")(lambda: mlflow.end_run(status))
