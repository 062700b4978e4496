"""Which of a machine's GPUs a Spark task is to use: that whose address Spark gave it, as several share a machine."""

from __future__ import annotations

import os

from pyspark import TaskContext


def device_at(address: str, num_gpus: int, visible: str | None) -> int:
    """The number by which this process knows a GPU that Spark calls by an address; the first where it sees no such.

    visible: CUDA_VISIBLE_DEVICES, whose GPUs a process counts from 0.

    >>> device_at("3", 4, None), device_at("3", 2, "2,3"), device_at("3", 1, "3"), device_at("3", 2, "0,1")
    (3, 1, 0, 0)
    """
    names = [name.strip() for name in visible.split(",")] if visible else [str(number) for number in range(num_gpus)]
    return names.index(address) if address in names[:num_gpus] else 0


def gpu_of_task(num_gpus: int) -> int:
    """The number of the GPU that Spark gave to the task; 0 outside of tasks, and where Spark gives none."""
    context = TaskContext.get()
    given = context.resources().get("gpu") if context is not None else None
    return device_at(given.addresses[0], num_gpus, os.environ.get("CUDA_VISIBLE_DEVICES")) if given else 0
