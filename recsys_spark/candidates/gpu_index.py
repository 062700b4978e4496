"""Copies of FAISS indices on the GPU of a Python process, where it has one; what fails there goes on on the CPU."""

from __future__ import annotations

import logging
from typing import Any

import faiss

from recsys_spark.task_gpu import gpu_of_task

GPU_LIMIT = 2048  # largest k and number of probes on a GPU
_SCRATCH_BYTES = 256 << 20  # of one process; several may share a GPU

log = logging.getLogger("recsys")


class Gpu:
    """The GPU of this process. All indices share FAISS's resources, each of which holds memory; for one thread."""

    def __init__(self) -> None:
        self._resources: Any = None
        self._is_given_up = False

    def copy_of(self, index: faiss.Index) -> faiss.Index | None:
        """A copy of the index on the GPU, None where there is none or where it cannot take the index."""
        num_gpus = faiss.get_num_gpus()
        if self._is_given_up or num_gpus == 0 or getattr(index, "nprobe", 0) > GPU_LIMIT:
            return None
        try:
            return faiss.index_cpu_to_gpu(self._held(), gpu_of_task(num_gpus), index)
        except RuntimeError as error:
            self.give_up(error)
            return None

    def give_up(self, error: RuntimeError) -> None:
        """Leave the GPU alone from now on: resources whose first allocation failed are half made, and crash."""
        if not self._is_given_up:
            told = (str(error).strip().splitlines() or [""])[0]
            log.warning("FAISS goes on on the CPU, for its GPU failed: %s", told)
        self._is_given_up = True

    def _held(self) -> Any:
        if self._resources is None:
            self._resources = faiss.StandardGpuResources()
            self._resources.setTempMemory(_SCRATCH_BYTES)
            self._resources.setPinnedMemory(0)  # which only batches of queries above 256 MiB would use
        return self._resources


GPU = Gpu()
