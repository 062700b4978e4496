"""Hands each epoch's figures to TensorBoard or MLflow, when asked for and installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from recsys_spark.contracts.errors import ConfigError

Report = Callable[[Mapping[str, float]], None]


@contextmanager
def tracker(
    kind: str, folder: str, name: str, settings: Mapping[str, Any], section: str = "retriever"
) -> Iterator[Report]:
    """A function that takes one entry of the curve. kind: none, tensorboard or mlflow. name: of what is trained.

    section: of the config, for messages. Raises ConfigError where the library is missing.
    """
    if kind == "tensorboard":
        with _tensorboard(f"{folder}/tensorboard/{name}", section) as report:
            yield report
    elif kind == "mlflow":
        with _mlflow(name, settings, section) as report:
            yield report
    else:
        yield lambda _: None


@contextmanager
def _tensorboard(folder: str, section: str) -> Iterator[Report]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        told = f"{section}.tracking is tensorboard, which is not installed: pip install tensorboard"
        raise ConfigError(told) from None

    with SummaryWriter(folder) as writer:

        def report(entry: Mapping[str, float]) -> None:
            for name, value in entry.items():
                writer.add_scalar(name, value, int(entry["epoch"]))
            writer.flush()

        yield report


@contextmanager
def _mlflow(name: str, settings: Mapping[str, Any], section: str) -> Iterator[Report]:
    """A run of its own, within the one that is active: a run takes each parameter only once."""
    try:
        import mlflow
    except ImportError:
        told = f"{section}.tracking is mlflow, which is not installed: install the extra mlflow"
        raise ConfigError(told) from None

    with mlflow.start_run(run_name=name, nested=True):
        mlflow.log_params(dict(settings))

        def report(entry: Mapping[str, float]) -> None:
            values = {name.replace("@", "_at_"): value for name, value in entry.items()}
            mlflow.log_metrics(values, step=int(entry["epoch"]))

        yield report
