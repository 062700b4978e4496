"""A function on several processes by Spark's TorchDistributor, with the reason where one fails.

The functions are nested: they travel by value to processes that do not know this file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recsys_spark.contracts.errors import ConfigError, TrainingError
from recsys_spark.gpu_launch import launch

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]


def summing() -> Callable[[float], dict[str, Any]]:
    root = str(ROOT)

    def train(given: float) -> dict[str, Any]:
        import sys

        sys.path.insert(0, root)
        import torch

        from training.process_group import process_group

        with process_group() as group:
            total = group.sum(torch.tensor([given + group.rank]))
        return {"total": total.item(), "ranks": group.world_size}

    return train


def failing(how: str) -> Callable[[], dict[str, Any]]:
    """Fails on the second process alone."""

    def train() -> dict[str, Any]:
        import os
        import signal

        if os.environ["RANK"] == "1":
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("the hamster\nhas left the wheel")
        return {}

    return train


@pytest.fixture
def importable(monkeypatch) -> None:
    """Lets the processes that a test starts import this project from where it lies."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "barrier"])
def test_spark_runs_a_function_on_two_processes_and_returns_what_the_first_returns(spark, importable, launcher):
    found = launch(spark, summing(), 10.0, num_processes=2, launcher=launcher)
    assert found == {"total": 21.0, "ranks": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "how", "reason"),
    [
        ("local", "raises", "ValueError: the hamster has left the wheel$"),
        ("local", "killed", "it ended with exit code -9$"),
        ("barrier", "raises", "ValueError: the hamster has left the wheel$"),
    ],
)
def test_a_process_that_fails_is_a_training_error_with_its_message(spark, importable, launcher, how, reason):
    with pytest.raises(TrainingError, match=f"a training process failed: {reason}"):
        launch(spark, failing(how), num_processes=2, launcher=launcher)


@pytest.mark.parametrize(("amount", "expected"), [("1", True), ("1.0", True), ("0", False), (None, False), ("", False)])
def test_processes_use_gpus_where_spark_gives_each_task_one_and_say_so_where_not(monkeypatch, caplog, amount, expected):
    given = []

    class Distributor:
        def __init__(self, **options: Any) -> None:
            given.append(options["use_gpu"])

        def run(self, train: Any) -> None: ...

    monkeypatch.setattr("pyspark.ml.torch.distributor.TorchDistributor", Distributor)
    conf = {} if amount is None else {"spark.task.resource.gpu.amount": amount}
    launch(SimpleNamespace(conf=conf), dict, num_processes=2, launcher="barrier")
    assert given == [expected]
    said = (
        "spark.task.resource.gpu.amount is not set, so the tasks train on CPUs; set it to 1 where executors have GPUs"
    )
    assert caplog.messages == ([] if expected else [said])


def test_tasks_that_would_share_a_gpu_are_refused():
    shared = SimpleNamespace(conf={"spark.task.resource.gpu.amount": "0.5"})
    with pytest.raises(ConfigError, match=r"spark.task.resource.gpu.amount is 0.5, but each .* set it to 1"):
        launch(shared, dict, num_processes=2, launcher="barrier")


@pytest.mark.slow
def test_one_local_process_is_this_one(spark):
    assert launch(spark, lambda given: {"pid": os.getpid() + given}, 3, num_processes=1, launcher="local") == {
        "pid": os.getpid() + 3
    }
