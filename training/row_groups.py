"""What the footers of published tables say, and which rows each rank reads in an epoch.

Rows are shared out as if the row groups were laid end to end: a rank gets one stretch of them, so that all ranks get
as many rows whatever the sizes of the row groups are. A row group on a border is read by both ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_spark.contracts.errors import ArtifactError, SchemaError

MANIFEST_SUFFIX = ".manifest.json"  # of recsys_spark.manifest, which trainers do not import
Layout = tuple[tuple[int, int, int], ...]  # of each row group: number of the file, index in it, rows
_FOOTER_READERS = 16
_MICROSECONDS = np.dtype(np.int64)


@dataclass(frozen=True)
class RowGroup:
    """Row group `index` of the `num_in_file` that a file holds."""

    file: str
    index: int
    num_in_file: int
    rows: int


@dataclass(frozen=True)
class ColumnForm:
    """How a column reaches the trainer. width: values per row of a list column, None for one plain value."""

    kind: pa.DataType  # as stored; of one value
    dtype: np.dtype[Any]
    width: int | None


@dataclass(frozen=True)
class Tables:
    """The row groups of one or several published tables, in the order of paths and file names."""

    fs: fsspec.AbstractFileSystem
    groups: tuple[RowGroup, ...]  # those with rows
    forms: dict[str, ColumnForm]

    @property
    def num_rows(self) -> int:
        return sum(group.rows for group in self.groups)

    @property
    def layout(self) -> Layout:
        """Says whether rows lie as they lay; files have other names each time that they are written."""
        number = {file: place for place, file in enumerate(dict.fromkeys(group.file for group in self.groups))}
        return tuple((number[group.file], group.index, group.rows) for group in self.groups)


@dataclass(frozen=True)
class Span:
    """Rows first..last of a row group, without the last."""

    group: RowGroup
    first: int
    last: int

    @property
    def rows(self) -> int:
        return self.last - self.first


def read_footers(paths: Sequence[str], columns: Sequence[str]) -> Tables:
    """Find the row groups of published tables, and check what can be told without reading rows.

    Raises ArtifactError for a path that is no published table, SchemaError for a column that is missing, that is of
    no type for a trainer, or that holds nulls or lists of different lengths.
    """
    located = [fsspec.core.url_to_fs(path) for path in paths]
    fs = located[0][0]
    if any(other is not fs for other, _ in located):
        raise ArtifactError(f"{', '.join(paths)} lie in different file systems; copy them into one")
    files = [file for _, folder in located for file in _part_files(fs, folder)]
    with ThreadPoolExecutor(_FOOTER_READERS) as readers:
        footers = list(readers.map(lambda file: _footer(fs, file), files))
    groups: list[RowGroup] = []
    forms: dict[str, ColumnForm] = {}
    for file, footer in zip(files, footers, strict=True):
        schema = footer.schema.to_arrow_schema()
        kinds = {name: _kind(schema, name, file) for name in columns}
        for index in range(footer.num_row_groups):
            rows = footer.row_group(index).num_rows
            if not rows:
                continue
            groups.append(RowGroup(file, index, footer.num_row_groups, rows))
            for name, found in _forms(footer.row_group(index), kinds, file).items():
                if forms.setdefault(name, found) != found:
                    raise SchemaError(
                        f"column '{name}' of {file} holds {_described(found)}, the row groups before it "
                        f"{_described(forms[name])}; pad and cast it to one form in the stage that writes it"
                    )
    return Tables(fs, tuple(groups), forms)


def _part_files(fs: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    folder = folder.rstrip("/")
    if not fs.exists(folder + MANIFEST_SUFFIX) or not fs.isdir(folder):
        raise ArtifactError(
            f"{folder} is no published table: a folder with {folder + MANIFEST_SUFFIX} beside it was expected; "
            "run the stage that writes it"
        )
    names = {file: file.rsplit("/", 1)[-1] for file in fs.find(folder)}
    return sorted(file for file, name in names.items() if name.endswith(".parquet") and name[0] not in "._")


def _footer(fs: fsspec.AbstractFileSystem, file: str) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file, filesystem=fs)
    except (OSError, pa.ArrowInvalid) as error:
        raise ArtifactError(f"{file} is damaged: {error}; run the stage that writes it again with --force") from error


def _kind(schema: pa.Schema, name: str, file: str) -> pa.DataType:
    """The Arrow type of a column that trainers can take."""
    if name not in schema.names:
        raise SchemaError(f"{file} lacks column '{name}'; it has {sorted(schema.names)}. Name one of them")
    kind = schema.field(name).type
    value = kind.value_type if pa.types.is_list(kind) else kind
    if _dtype(value) is None:
        raise SchemaError(
            f"column '{name}' of {file} is {kind}; a trainer takes integers, floats, booleans, timestamps and lists "
            "of one of them. Cast it in the stage that writes it"
        )
    return kind


def _dtype(kind: pa.DataType) -> np.dtype[Any] | None:
    if pa.types.is_timestamp(kind):
        return _MICROSECONDS
    is_number = pa.types.is_signed_integer(kind) or kind == pa.uint8() or kind in (pa.float32(), pa.float64())
    return np.dtype(kind.to_pandas_dtype()) if is_number or pa.types.is_boolean(kind) else None


def _forms(footer: pq.RowGroupMetaData, kinds: dict[str, pa.DataType], file: str) -> dict[str, ColumnForm]:
    """The form of each column in one row group. Lists are of one length only if their values divide by the rows."""
    leaves = {(leaf := footer.column(number)).path_in_schema: leaf for number in range(footer.num_columns)}
    forms: dict[str, ColumnForm] = {}
    for name, kind in kinds.items():
        is_list = pa.types.is_list(kind)
        leaf = next(leaf for path, leaf in leaves.items() if path.startswith(name + ".")) if is_list else leaves[name]
        statistics = leaf.statistics
        if statistics is not None and statistics.has_null_count and statistics.null_count:
            raise with_nulls(name, file, "nulls or empty lists" if is_list else "nulls")
        width, remainder = divmod(leaf.num_values, footer.num_rows) if is_list else (None, 0)
        if remainder:
            raise unpadded(name, file)
        value = kind.value_type if is_list else kind
        dtype = _dtype(value)
        assert dtype is not None
        forms[name] = ColumnForm(value, dtype, width)
    return forms


def unpadded(name: str, file: str) -> SchemaError:
    """The error of a list column that trainers cannot stack."""
    return SchemaError(
        f"column '{name}' of {file} holds lists of different lengths; pad them to one in the stage that writes it"
    )


def with_nulls(name: str, file: str, what: str = "nulls") -> SchemaError:
    """The error of a column that has no number for every row."""
    return SchemaError(f"column '{name}' of {file} holds {what}; fill them in the stage that writes it")


def _described(form: ColumnForm) -> str:
    return f"{form.kind} values" if form.width is None else f"lists of {form.width} {form.kind}"


@dataclass(frozen=True)
class Share:
    """How rows and batches are shared out. batches: of one rank in one epoch, the same on every rank.

    borders: in evaluation the first row of each rank and the end of the last, where they may not lie anywhere.
    """

    num_rows: int
    batch_size: int
    world_size: int
    shuffle: bool
    borders: tuple[int, ...] = ()

    @property
    def batches(self) -> int:
        if self.shuffle:
            return max(1, self.num_rows // (self.batch_size * self.world_size))
        most = max(last - first for first, last in map(self.bounds, range(self.world_size)))
        return -(-most // self.batch_size)  # rounded up

    def bounds(self, rank: int) -> tuple[int, int]:
        """First and last (exclusive) row of a rank, of the row groups laid end to end."""
        if self.shuffle:
            rows = min(self.batches * self.batch_size, self.num_rows // self.world_size)
            return rank * rows, (rank + 1) * rows
        if self.borders:
            return self.borders[rank], self.borders[rank + 1]
        return rank * self.num_rows // self.world_size, (rank + 1) * self.num_rows // self.world_size


def plan_epoch(groups: Sequence[RowGroup], share: Share, rank: int, seed: int, epoch: int) -> list[Span]:
    """The spans that a rank reads, in order.

    In training the row groups lie in a ring, in an order of the epoch's own, and the first rank starts anywhere on it:
    what no rank reads is another stretch in each epoch, and each row is as likely in it as any other.
    """
    first, last = share.bounds(rank)
    if not share.shuffle:
        return spans_between(groups, first, last)
    rng = np.random.default_rng((seed, epoch))
    ordered = [groups[number] for number in rng.permutation(len(groups))]
    left_out = share.num_rows - share.bounds(share.world_size - 1)[1]
    start = int(rng.integers(share.num_rows)) if left_out else 0  # nothing left out: no row group need be cut
    return spans_between(ordered, start + first, start + last)


def spans_between(groups: Sequence[RowGroup], first: int, last: int) -> list[Span]:
    """Rows first..last of the row groups laid end to end in a ring.

    >>> a, b = RowGroup("a", 0, 1, rows=3), RowGroup("b", 0, 1, rows=4)
    >>> [(span.group.file, span.first, span.last) for span in spans_between([a, b], 5, 9)]
    [('b', 2, 4), ('a', 0, 2)]
    """
    ends: npt.NDArray[np.int64] = np.cumsum([group.rows for group in groups])
    spans: list[Span] = []
    while first < last:
        place = first % int(ends[-1])
        number = int(np.searchsorted(ends, place, side="right"))
        group = groups[number]
        offset = place - (int(ends[number]) - group.rows)
        span = Span(group, offset, min(group.rows, offset + last - first))
        spans.append(span)
        first += span.rows
    return spans
