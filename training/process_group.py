"""Rank, world size and device of this process, and the few collectives that training needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recsys_spark.contracts.errors import ConfigError
from training.parameters import sparse_and_dense

_CPU = torch.device("cpu")
# The other ranks wait while the first one writes a checkpoint or exports: minutes for large tables.
_TIMEOUT = timedelta(hours=2)


@dataclass(frozen=True)
class Group:
    """The processes that train together. A group of one needs no torch.distributed."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = _CPU

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def gather_rows(self, rows: Tensor) -> Tensor:
        """The rows of all ranks, rank by rank, (sum of rows, ...). Ranks may have different numbers of them."""
        if self.world_size == 1:
            return rows
        counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(self.world_size)]
        dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        sizes = [int(count) for count in counts]
        if max(sizes) == 0:
            return rows
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def sum(self, values: Tensor) -> Tensor:
        """Element-wise sum over the ranks."""
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def share_weights(self, model: nn.Module) -> None:
        """Give every rank the weights of the first."""
        if self.world_size > 1:
            for weights in (*model.parameters(), *model.buffers()):
                dist.broadcast(weights.detach(), src=0)

    def average_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its mean over the ranks; one that is missing counts as zero.

        Row gradients of embedding tables travel as rows, on gloo and nccl alike, so that traffic follows the batch and
        not the catalogue. All others travel as one vector.
        """
        if self.world_size == 1:
            return
        sparse, dense = sparse_and_dense(model)
        for table in sparse:
            table.grad = self._mean_of_rows(table)
        if dense:
            gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in dense]
            mean = self.sum(torch.cat([gradient.flatten() for gradient in gradients])) / self.world_size
            for parameter, part in zip(dense, mean.split([one.numel() for one in dense]), strict=True):
                parameter.grad = part.view_as(parameter)

    def _mean_of_rows(self, table: nn.Parameter) -> Tensor:
        if table.grad is None:
            rows, values = torch.empty(0, dtype=torch.long, device=table.device), table.new_empty(0, table.shape[1])
        else:
            gradient = table.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
        rows, values = self.gather_rows(rows), self.gather_rows(values)
        return torch.sparse_coo_tensor(rows[None], values / self.world_size, table.shape).coalesce()

    def wait(self) -> None:
        """Return when every rank has come here."""
        if self.world_size > 1:
            dist.barrier()


@contextmanager
def process_group() -> Iterator[Group]:
    """The group that torchrun or TorchDistributor has set in the environment; one process where none has.

    Raises ConfigError where there are GPUs, but fewer than processes.
    """
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = _device(int(os.environ.get("LOCAL_RANK", 0)))
    if world_size == 1:
        yield Group(device=device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=world_size, timeout=_TIMEOUT)
    try:
        yield Group(rank, world_size, device)
    finally:
        dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return _CPU
    found = torch.cuda.device_count()
    if local_rank >= found:
        raise ConfigError(
            f"process {local_rank + 1} of this machine has no GPU, for it has {found}; run fewer processes"
        )
    device = torch.device(f"cuda:{local_rank}")
    torch.cuda.set_device(device)
    return device
