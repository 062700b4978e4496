"""Run one training function on one process or many, by Spark's TorchDistributor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession

from recsys_spark.contracts.errors import TrainingError

_LAST_LINES = 5


def launch(
    spark: SparkSession, train: Callable[..., dict[str, Any]], *args: Any, num_processes: int, launcher: str
) -> dict[str, Any]:
    """What `train(*args)` returns on the first process. train: importable on every node; returns plain values.

    launcher: `local` runs the processes on the driver, `barrier` as the tasks of one barrier stage, one GPU each where
    executors have GPUs. One local process is this one. Raises TrainingError where a process fails.
    """
    if num_processes == 1 and launcher == "local":
        return train(*args)
    from pyspark.ml.torch.distributor import TorchDistributor

    is_local = launcher == "local"
    # Local mode insists on driver GPUs that Spark was told of; processes find a GPU by their local rank without that.
    amount = "spark.driver.resource.gpu.amount" if is_local else "spark.task.resource.gpu.amount"
    use_gpu = int(float(spark.conf.get(amount, "0") or 0)) > 0
    distributor = TorchDistributor(num_processes=num_processes, local_mode=is_local, use_gpu=use_gpu)
    try:
        found = distributor.run(train, *args)
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise TrainingError(f"a training process failed: {' | '.join(lines[-_LAST_LINES:])}") from error
    assert found is not None  # the first process returns
    return dict(found)
