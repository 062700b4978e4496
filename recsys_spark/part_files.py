"""Tables whose tasks write their part files themselves: through the JVM, long lists cost several times as much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pandas.util import hash_array
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema

from recsys_spark.contracts.schemas import Table
from recsys_spark.paths import filesystem
from recsys_spark.sequences.windows import mix

Kernel = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
Hashes = NDArray[np.uint64]

PARTS_DDL = "name string, rows bigint, hash bigint"  # one row per part file
_ROW_GROUP_BYTES = 64 << 20  # in Arrow's form, held by a task
_WRITE = {"compression": "zstd", "use_dictionary": False}  # smaller and faster for lists than Snappy and dictionaries
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
    return source.mapInArrow(_PartWriter(kernel, to_arrow_schema(frame.schema), folder), PARTS_DDL)


def row_hashes(batch: pa.RecordBatch) -> Hashes:
    """A hash of each row. Lists must be of one length within a column and hold no nulls.

    >>> row_hashes(pa.RecordBatch.from_pydict({"a": [1, 2], "b": [[3], [3]]})).shape
    (2,)
    """
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    for number, column in enumerate(batch.columns):
        total = mix((total + np.uint64(number)).view(np.int64)) + _hashes(column)
    return mix(total.view(np.int64))


def _hashes(column: pa.Array) -> Hashes:
    if pa.types.is_list(column.type):
        values = _hashes(column.flatten()).reshape(len(column), -1)
        return values @ (mix(np.arange(values.shape[1])) | np.uint64(1))
    if column.null_count:
        known = pc.is_valid(column).to_numpy(zero_copy_only=False)
        return np.where(known, _hashes(pc.fill_null(column, _zero(column.type))), np.uint64(1) << np.uint64(63))
    if pa.types.is_string(column.type):
        distinct = column.dictionary_encode()
        of_texts = hash_array(np.array(distinct.dictionary.to_pylist(), dtype=object), categorize=False)
        return of_texts[distinct.indices.to_numpy()]
    values = column.to_numpy(zero_copy_only=False)
    return values.view(f"u{values.dtype.itemsize}").astype(np.uint64, copy=False)


def _zero(kind: pa.DataType) -> pa.Scalar:
    return pa.scalar("", kind) if pa.types.is_string(kind) else pa.scalar(0).cast(kind)


@dataclass(frozen=True)
class _PartWriter:
    """Runs the kernel over a task's batches and writes what it yields as one part file."""

    kernel: Kernel
    schema: pa.Schema
    folder: str

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = _row_groups(self.kernel(batches), self.schema)
        first = next(tables, None)
        if first is None:
            return
        context = TaskContext.get()
        assert context is not None
        name = f"part-{context.partitionId():05d}-{context.taskAttemptId()}.parquet"  # another one for each attempt
        fs, base = filesystem(self.folder)
        rows, row_hash = 0, np.uint64(0)
        with fs.open(f"{base}/{name}", "wb") as file, pq.ParquetWriter(file, self.schema, **_WRITE) as writer:
            for table in chain([first], tables):
                writer.write_table(table)
                rows += table.num_rows
                for batch in table.to_batches():
                    row_hash ^= np.bitwise_xor.reduce(row_hashes(batch))
        part = {"name": [name], "rows": [rows], "hash": [int(row_hash.view(np.int64))]}
        yield pa.RecordBatch.from_pydict(part)


def _row_groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The batches joined to tables of about a row group's size, in the schema's types."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(each.nbytes for each in held) >= _ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held).cast(schema)
            held = []
    if held:
        yield pa.Table.from_batches(held).cast(schema)
