"""Tables whose tasks write their part files themselves: through the JVM, long lists cost several times as much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from operator import xor
from pathlib import PurePosixPath
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from pandas.util import hash_array
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema

from recsys_spark.arrays import GOLDEN, Hashes, mix, places_by_size
from recsys_spark.contracts.errors import SchemaError
from recsys_spark.contracts.schemas import Table
from recsys_spark.file_facts import part_paths
from recsys_spark.paths import filesystem

Kernel = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
TablesKernel = Callable[[Iterable[pa.RecordBatch]], Iterator[tuple[int, pa.RecordBatch]]]  # the table's number, rows

PARTS_DDL = "table int, name string, rows bigint, hash bigint"  # one row per part file
_PARTS_SCHEMA = pa.schema([("table", pa.int32()), ("name", pa.string()), ("rows", pa.int64()), ("hash", pa.int64())])
_ROWS_READ = 16_384  # at once
_ROW_GROUP_BYTES = 64 << 20  # in Arrow's form, held by a task
_OF_LISTS = "zstd"  # smaller and faster for lists of numbers than Snappy and dictionaries
_OF_NUMBERS = "lz4"  # of shards: a third more bytes than zstd, and a third less time to write them
_MADE_BY: WeakKeyDictionary[DataFrame, tuple[DataFrame, Kernel]] = WeakKeyDictionary()


def map_batches(source: DataFrame, kernel: Kernel, schema: Table) -> DataFrame:
    """The frame `source.mapInArrow(kernel)`. Stored as it is, its tasks write its part files; see `parts_of`."""
    frame = source.mapInArrow(kernel, schema.ddl)
    _MADE_BY[frame] = (source, kernel)
    return frame


def parts_of(frame: DataFrame, folder: str) -> DataFrame | None:
    """PARTS_DDL: computing it writes the frame's part files; None for a frame that is not as `map_batches` made it.

    folder: exists, and all executors reach it. A task that fails or that is run twice leaves files that no row of
    the result names.
    """
    made_by = _MADE_BY.get(frame)
    if made_by is None:
        return None
    source, kernel = made_by
    return parts_of_tables(source, _OneTable(kernel), [to_arrow_schema(frame.schema)], [folder])


def parts_of_tables(
    source: DataFrame, kernel: TablesKernel, schemas: Sequence[pa.Schema], folders: Sequence[str]
) -> DataFrame:
    """PARTS_DDL: computing it writes the part files of several tables in one pass over `source`, one folder each."""
    return source.mapInArrow(_PartWriter(kernel, tuple(schemas), tuple(folders)), PARTS_DDL)


@dataclass(frozen=True)
class _OneTable:
    kernel: Kernel

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        return ((0, batch) for batch in self.kernel(batches))


def part_names(folder: str) -> tuple[str, ...]:
    """Names of the part files of a published table, ascending."""
    return tuple(PurePosixPath(path).name for path in part_paths(*filesystem(folder)))


def part_of(names: Sequence[str], partition: int | None = None) -> str | None:
    """Which of a table's part files the task of a partition wrote, by default the one of this task's partition; None
    where it had no rows.
    """
    begin = _begin(_task().partitionId() if partition is None else partition)
    return next((name for name in names if name.startswith(begin)), None)


def read_part(folder: str, name: str, columns: list[str], rows: int = _ROWS_READ) -> Iterator[pa.RecordBatch]:
    """Some columns of a part file, in the order of its rows, so many at once. Raises SchemaError for one it lacks."""
    fs, base = filesystem(folder)
    with fs.open(f"{base}/{name}", "rb") as opened, pq.ParquetFile(opened) as file:
        if missing := [column for column in columns if column not in file.schema_arrow.names]:
            raise SchemaError(f"{folder}/{name} lacks the columns {missing}")
        yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)


def _begin(partition: int) -> str:
    return f"part_{partition:05d}_"


def _task() -> TaskContext:
    context = TaskContext.get()
    assert context is not None
    return context


def row_hashes(batch: pa.RecordBatch) -> Hashes:
    """A hash of each row. Lists must hold no nulls.

    Columns are summed with a factor each before they are mixed (multilinear hashing: Lemire and Kaser, The Computer
    Journal 2014): shards have some ninety of them.

    >>> row_hashes(pa.RecordBatch.from_pydict({"a": [1, 2], "b": [[3], [3]]})).shape
    (2,)
    """
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    for factor, column in zip(_odd_factors(batch.num_columns), batch.columns, strict=True):
        total += _hashes(column) * factor
    return mix(total.view(np.int64))


def written_tables(fs: AbstractFileSystem, folders: Sequence[str], parts: DataFrame) -> list[tuple[int, int] | None]:
    """Rows and fingerprint of each table whose part files computing `parts` writes; None for one without rows.

    folders: of the tables, in the order of their numbers. Files of tasks that failed or ran twice go.
    """
    for folder in folders:
        fs.makedirs(folder, exist_ok=True)
    written = parts.collect()
    facts: list[tuple[int, int] | None] = []
    for number, folder in enumerate(folders):
        own = [part for part in written if part["table"] == number]
        names = {part["name"] for part in own}
        for path in fs.find(folder):
            if PurePosixPath(path).name not in names:
                fs.rm(path)
        rows = sum(part["rows"] for part in own)
        facts.append((rows, reduce(xor, (part["hash"] for part in own), 0)) if own else None)
    return facts


def _hashes(column: pa.Array) -> Hashes:
    if pa.types.is_list(column.type):
        values, ends = _hashes(column.flatten()), column.offsets.to_numpy().astype(np.int64)
        starts, lengths = ends - ends[0], np.diff(ends)
        factors = _odd_factors(max(lengths, default=0))[places_by_size(lengths)]
        reached = np.concatenate([[np.uint64(0)], np.cumsum(values * factors, dtype=np.uint64)])
        return mix(lengths) + reached[starts[1:]] - reached[starts[:-1]]
    if column.null_count:
        known = pc.is_valid(column).to_numpy(zero_copy_only=False)
        return np.where(known, _hashes(pc.fill_null(column, _zero(column.type))), GOLDEN)
    if pa.types.is_string(column.type):
        distinct = column.dictionary_encode()
        of_texts = hash_array(np.array(distinct.dictionary.to_pylist(), dtype=object), categorize=False)
        return of_texts[distinct.indices.to_numpy()]
    values = column.to_numpy(zero_copy_only=False)
    return values.view(f"u{values.dtype.itemsize}").astype(np.uint64, copy=False)


def _odd_factors(number: int) -> Hashes:
    """One for each column, or place in a list; odd, so that no bit of a value is lost."""
    return mix(np.arange(number)) | np.uint64(1)


def _columns_of_texts(schema: pa.Schema) -> list[str]:
    """Parquet's names of columns of texts and of lists of them: without a dictionary they take half as much again."""
    is_text = pa.types.is_string
    lists = [field for field in schema if pa.types.is_list(field.type) and is_text(field.type.value_type)]
    return [field.name for field in schema if is_text(field.type)] + [f"{field.name}.list.element" for field in lists]


def _zero(kind: pa.DataType) -> pa.Scalar:
    return pa.scalar("", kind) if pa.types.is_string(kind) else pa.scalar(0).cast(kind)


@dataclass(frozen=True)
class _PartWriter:
    """Runs the kernel over a task's batches and writes what it yields as one part file of each table."""

    kernel: TablesKernel
    schemas: tuple[pa.Schema, ...]
    folders: tuple[str, ...]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = _task()
        name = f"{_begin(context.partitionId())}{context.taskAttemptId()}.parquet"  # another one for each attempt
        with ExitStack() as stack:
            parts = [_Part(*told, name, stack) for told in zip(self.schemas, self.folders, strict=True)]
            for table, batch in self.kernel(batches):
                parts[table].add(batch)
            for part in parts:
                part.flush()
        for number, part in enumerate(parts):
            if part.writer is not None:
                found = {
                    "table": [number],
                    "name": [name],
                    "rows": [part.rows],
                    "hash": [int(part.hash.view(np.int64))],
                }
                yield pa.RecordBatch.from_pydict(found, schema=_PARTS_SCHEMA)


class _Part:
    """The part file of one table, begun with its first rows, in row groups of about _ROW_GROUP_BYTES."""

    def __init__(self, schema: pa.Schema, folder: str, name: str, stack: ExitStack) -> None:
        self.writer: pq.ParquetWriter | None = None
        self.rows, self.hash = 0, np.uint64(0)
        self._schema, self._folder, self._name, self._stack = schema, folder, name, stack
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """A batch is never parted, so its rows come to lie in one row group."""
        if batch.num_rows:
            self._held.append(batch)
            self._held_bytes += batch.nbytes
        if self._held_bytes >= _ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._held:
            return
        if self.writer is None:
            fs, base = filesystem(self._folder)
            file = self._stack.enter_context(fs.open(f"{base}/{self._name}", "wb"))
            has_lists = any(pa.types.is_list(field.type) for field in self._schema)
            packing = _OF_LISTS if has_lists else _OF_NUMBERS
            texts = _columns_of_texts(self._schema)
            writer = pq.ParquetWriter(file, self._schema, compression=packing, use_dictionary=texts)
            self.writer = self._stack.enter_context(writer)
        table = pa.Table.from_batches(self._held).cast(self._schema)
        self.writer.write_table(table, row_group_size=table.num_rows)  # by default at most 1,048,576
        self.rows += table.num_rows
        for batch in table.to_batches():
            self.hash ^= np.bitwise_xor.reduce(row_hashes(batch))
        self._held, self._held_bytes = [], 0
