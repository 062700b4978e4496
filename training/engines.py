"""Two ways to read a row group into NumPy arrays: through Petastorm and through pyarrow alone.

Both give the same rows. `petastorm` opens one batch reader for each row group, told by its shard, so that the order
is the plan's and does not depend on Petastorm's version, seed or number of workers; `arrow` also reads object stores.
"""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.locations import petastorm_url
from training.row_groups import ColumnForm, RowGroup, Tables, unpadded, with_nulls

Arrays = dict[str, npt.NDArray[Any]]  # (rows,) or (rows, width)

ENGINES = ("petastorm", "arrow")
_PETASTORM_PYARROW = 15  # the first version without what Petastorm calls
_PART_ROWS = 8192  # decoded and moved on while in the processor's cache: half the time of a row group as a whole
_QUEUE_READER = "_results_queue_reader"
_USE_ARROW = "; use engine arrow"


class Engine(ABC):
    """Reads row groups; called from several threads at once."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @abstractmethod
    def read(self, group: RowGroup) -> Iterator[Arrays]:
        """The rows of a row group in order, in one or more parts. Raises SchemaError for nulls and unpadded lists."""


def open_engine(name: str, tables: Tables) -> Engine:
    """Raises ConfigError where Petastorm cannot read the tables."""
    return PetastormEngine(tables) if name == "petastorm" else ArrowEngine(tables)


class ArrowEngine(Engine):
    """pyarrow on any file system that fsspec knows."""

    def read(self, group: RowGroup) -> Iterator[Arrays]:
        forms = self._tables.forms
        with pq.ParquetFile(group.file, filesystem=self._tables.fs, pre_buffer=True) as file:
            # Without threads, for the reader's own each read another row group.
            parts = file.iter_batches(_PART_ROWS, row_groups=[group.index], columns=list(forms), use_threads=False)
            for part in parts:
                yield to_arrays(part, forms, group.file)


class PetastormEngine(Engine):
    """Petastorm's batch reader, which reads local files alone unless pyarrow is older than 11."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        if not isinstance(tables.fs, LocalFileSystem):
            raise ConfigError(f"engine petastorm reads local files, not {tables.groups[0].file}" + _USE_ARROW)
        odd = next((group.file for group in tables.groups if set("?#;") & set(group.file)), None)
        if odd is not None:
            raise ConfigError(f"engine petastorm cannot open {odd}, whose name holds one of ? # ;" + _USE_ARROW)
        if int(pa.__version__.split(".")[0]) >= _PETASTORM_PYARROW:
            raise ConfigError(
                f"engine petastorm wants pyarrow below {_PETASTORM_PYARROW}, has {pa.__version__}" + _USE_ARROW
            )
        # It calls what pyarrow has deprecated, which then warns for each row group.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.|pyarrow\.parquet")
        try:
            from petastorm import make_batch_reader  # not in every environment that reads with arrow
        except ImportError as error:
            raise ConfigError(f"engine petastorm cannot be imported: {error}" + _USE_ARROW) from error
        self._make_reader = make_batch_reader
        self._fields = [f"^{re.escape(name)}$" for name in tables.forms]  # Petastorm takes names for patterns

    def read(self, group: RowGroup) -> Iterator[Arrays]:
        reader = self._make_reader(
            [petastorm_url(group.file)],
            schema_fields=self._fields,
            workers_count=1,
            shuffle_row_groups=False,
            cur_shard=group.index,
            shard_count=group.num_in_file,
        )
        try:
            _stack_by(reader, _Stacking(self._tables.forms, group.file))
            yield next(reader)._asdict()
        finally:  # not a `with`, which prints a line for each reader
            reader.stop()
            reader.join()


def _stack_by(reader: Any, stacking: _Stacking) -> None:
    """Replace Petastorm's own step from Arrow to NumPy, which makes an object of every list: half of all its time.

    A private attribute of 0.12 and 0.13. Raises ConfigError where it is missing.
    """
    if not hasattr(reader, _QUEUE_READER):
        raise ConfigError(f"engine petastorm: this version's reader has no {_QUEUE_READER}" + _USE_ARROW)
    setattr(reader, _QUEUE_READER, stacking)


class _Stacking:
    """What takes a row group from Petastorm's workers and makes a named tuple of arrays of it."""

    batched_output = True

    def __init__(self, forms: dict[str, ColumnForm], file: str) -> None:
        self._forms, self._file = forms, file

    def read_next(self, workers_pool: Any, schema: Any, _ngram: None) -> Any:
        return schema.make_namedtuple(**to_arrays(workers_pool.get_results(), self._forms, self._file))


def to_arrays(rows: pa.RecordBatch | pa.Table, forms: dict[str, ColumnForm], file: str) -> Arrays:
    """Columns as arrays, without an object for each list. Raises SchemaError for nulls and unpadded lists."""
    return {name: _column(rows.column(name), name, form, file) for name, form in forms.items()}


def _column(stored: pa.Array | pa.ChunkedArray, name: str, form: ColumnForm, file: str) -> npt.NDArray[Any]:
    if isinstance(stored, pa.ChunkedArray):
        stored = stored.chunk(0) if stored.num_chunks == 1 else stored.combine_chunks()
    if stored.null_count:
        raise with_nulls(name, file)
    if form.width is None:
        return _values(stored, form)
    offsets = stored.offsets.to_numpy()
    if not np.array_equal(offsets - offsets[0], np.arange(len(offsets)) * form.width):
        raise unpadded(name, file)
    values = stored.flatten()
    if values.null_count:
        raise with_nulls(name, file)
    return _values(values, form).reshape(len(stored), form.width)


def _values(values: pa.Array, form: ColumnForm) -> npt.NDArray[Any]:
    if pa.types.is_timestamp(form.kind):
        values = values.cast(pa.timestamp("us", form.kind.tz), safe=False).cast(pa.int64())
    return values.to_numpy(zero_copy_only=False)
