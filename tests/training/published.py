"""Published tables for tests of the reader, and what it reads of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsys_spark.manifest import SUFFIX
from training.reader import ParquetReader, ReaderOptions

ENGINES = ("petastorm", "arrow")
COLUMNS = ("row", "history", "days", "is_repeat", "time", "flag")
WIDTH = 3
Files = Sequence[Sequence[int]]  # for each file the sizes of its row groups

EVEN: Files = [[6, 6], [6, 6]]


def table_of(rows: Sequence[int]) -> pa.Table:
    """Each column follows from the row's number."""
    numbers = np.asarray(rows, dtype=np.int64)
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * WIDTH
    lists = {
        "history": (numbers[:, None] * 10 + np.arange(WIDTH)).ravel(),
        "days": (numbers[:, None] / 2 + np.arange(WIDTH, dtype=np.float32)).ravel().astype(np.float32),
        "is_repeat": (numbers[:, None] % 2 == np.arange(WIDTH) % 2).ravel(),
    }
    columns = {name: pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in lists.items()}
    times = pa.array(1_600_000_000_000_000 + numbers, pa.timestamp("us", tz="UTC"))
    return pa.table({"row": numbers, **columns, "time": times, "flag": numbers % 3 == 0, "name": numbers.astype(str)})


def publish(folder: Path, files: Files, first: int = 0, **write) -> str:
    """A table whose rows are numbered through from `first`."""
    folder.mkdir(parents=True)
    for number, groups in enumerate(files):
        with pq.ParquetWriter(folder / f"part-{number:05d}.snappy.parquet", table_of([]).schema, **write) as writer:
            for rows in groups:
                writer.write_table(table_of(range(first, first + rows)))
                first += rows
    folder.with_name(folder.name + SUFFIX).write_text("{}")
    return str(folder)


def publish_one(folder: Path, table: pa.Table, **write) -> str:
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-0.parquet", **write)
    folder.with_name(folder.name + SUFFIX).write_text("{}")
    return str(folder)


def reader(path: str | list[str], **given) -> ParquetReader:
    options = {"engine": "arrow", "batch_size": 4, "columns": ("row",), "seed": 1, "shuffle": True}
    return ParquetReader(path, ReaderOptions(**{**options, **given}))


def rows_of(batches: Iterator[dict[str, torch.Tensor]]) -> list[list[int]]:
    return [batch["row"].tolist() for batch in batches]


def read(path: str | list[str], epoch: int = 0, skip: int = 0, **given) -> list[list[int]]:
    return rows_of(reader(path, **given).epoch(epoch, skip))


def by_rank(path: str, world_size: int, epoch: int = 0, **given) -> list[list[list[int]]]:
    return [read(path, epoch, rank=rank, world_size=world_size, **given) for rank in range(world_size)]


def flat(batches: Sequence[Sequence[int]]) -> list[int]:
    return list(chain.from_iterable(batches))
