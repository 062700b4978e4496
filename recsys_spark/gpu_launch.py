"""Run one training function on one process or many, by Spark's TorchDistributor."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, TextIO

from pyspark import TaskContext
from pyspark.sql import SparkSession

from recsys_spark.contracts.errors import ConfigError, TrainingError

log = logging.getLogger("recsys")

_FAILED = "training process failed: "
_ENDED = re.compile(r"exitcode\s*: (-?\d+)")  # as torchrun lists processes; -9 is often want of memory
_LINES_KEPT = 1000


def launch(
    spark: SparkSession, train: Callable[..., dict[str, Any]], *args: Any, num_processes: int, launcher: str
) -> dict[str, Any]:
    """What `train(*args)` returns on the first process. train: importable on every node; returns plain values.

    launcher: `local` runs the processes on the driver, `barrier` as the tasks of one barrier stage, one GPU each where
    executors have GPUs. One local process is this one. Raises TrainingError where a process fails, ConfigError where
    tasks are to share a GPU.
    """
    if num_processes == 1 and launcher == "local":
        return train(*args)
    from pyspark.ml.torch.distributor import TorchDistributor

    is_local = launcher == "local"
    distributor = TorchDistributor(num_processes=num_processes, local_mode=is_local, use_gpu=_uses_gpu(spark, is_local))
    with _listening() as lines:
        try:
            found = distributor.run(_SayingWhy(train), *args)
        except Exception as error:  # whatever Spark makes of it, which never holds the reason
            raise TrainingError(f"a {_FAILED}{_reason(lines) or str(error).splitlines()[0]}") from error
    if is_local and (reason := _reason(lines)):  # of any but the first process, which Spark does not see
        raise TrainingError(f"a {_FAILED}{reason}")
    return dict(found or {})


def _uses_gpu(spark: SparkSession, is_local: bool) -> bool:
    # Local mode insists on driver GPUs that Spark was told of; processes find a GPU by their local rank without that.
    key = "spark.driver.resource.gpu.amount" if is_local else "spark.task.resource.gpu.amount"
    amount = float(spark.conf.get(key, "0") or 0)
    if not is_local and 0 < amount < 1:
        raise ConfigError(f"{key} is {amount:g}, but each training process wants a GPU of its own; set it to 1")
    if not is_local and not amount:
        log.warning("%s is not set, so the tasks train on CPUs; set it to 1 where executors have GPUs", key)
    return amount > 0


@dataclass(frozen=True)
class _SayingWhy:
    """A training function that prints on one line why it fails: TorchDistributor hands on what is printed."""

    train: Callable[..., dict[str, Any]]

    def __call__(self, *args: Any) -> dict[str, Any]:
        try:
            return self.train(*args)
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"{_FAILED}{told}", file=sys.stderr, flush=True)
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        """On an executor the distributor pickles this for processes of its own.

        They do not know the worker's module path, which holds what came by --py-files.
        """
        if TaskContext.get() is not None:
            os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        return _SayingWhy, (self.train,)


def _reason(lines: Iterable[str]) -> str:
    """What the first process that failed said, else how one ended; empty where none failed."""
    said = [line.split(_FAILED, 1)[1] for line in lines if _FAILED in line]
    ended = [f"it ended with exit code {code}" for line in lines for code in _ENDED.findall(line)]
    return (said or ended or [""])[0]


@contextmanager
def _listening() -> Iterator[deque[str]]:
    """The last lines that are printed meanwhile; they are still printed."""
    lines: deque[str] = deque(maxlen=_LINES_KEPT)
    with redirect_stdout(_Tee(sys.stdout, lines)), redirect_stderr(_Tee(sys.stderr, lines)):  # type: ignore[type-var]
        yield lines


@dataclass
class _Tee:
    stream: TextIO
    lines: deque[str]
    begun: str = field(default="")

    def write(self, text: str) -> int:
        *whole, self.begun = (self.begun + text).split("\n")
        self.lines.extend(whole)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
