"""A sparse matrix as files of column blocks: packed by Spark tasks, memory-mapped by others.

A block holds some columns of the matrix, longest first, and for each the rows it meets. An entry is a weight at (row,
column); `norm` is a column's Euclidean length, `mass` the sum of its weights, `peak` the largest of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recsys_spark.arrays import Floats, Ints
from recsys_spark.baselines.scratch_arrays import load_arrays, save_arrays
from recsys_spark.contracts.errors import DataError

Indices = npt.NDArray[np.int64] | npt.NDArray[np.int32]

FIRST_TILE = 1024  # columns of the tile with the longest columns; each further tile is TILE_GROWTH times wider
TILE_GROWTH = 4
SLICE = 2048  # columns per dense product: what comes of it stays in the second-level cache
MAX_INDEX = 2**31 - 1
MIN_WEIGHT = 1e-30  # below that, products of weights could vanish
_ARRAYS = ("cols", "indptr", "indices", "weights", "norms", "masses", "peaks")


@dataclass(frozen=True)
class BlockSummary:
    """What the driver learns of a packed block.

    integral: all weights are whole numbers, so that sums of products are exact in any order.
    """

    block: int
    columns: int
    nonzeros: int
    max_row: int
    max_weight: float
    integral: bool


def pack_block(
    rows: Indices, cols: Indices, weights: Floats, folder: str, block: int, alone: bool = False
) -> BlockSummary:
    """Write the columns of one block below `folder`, a local path or an fsspec URI.

    alone: the block is the whole matrix, so its rows may be renumbered, fullest first, to lie close in memory.
    Raises DataError for a weight that is not positive and finite, an index out of range, or an entry given twice.
    """
    _check_entries(rows, cols, weights)
    if len(rows) == 0:
        return BlockSummary(block, 0, 0, 0, 0.0, True)
    integral = bool(np.all(weights == np.rint(weights)))
    if alone and integral:  # other sums would depend on the order of the rows
        rows = _fullest_first(rows)
    names, places = _dense_places(cols)
    shape = (int(rows.max()) + 1, len(names))
    binary = bool(np.all(weights == 1.0))
    data = np.ones(len(rows), np.int8) if binary else weights  # an eighth of the memory
    entries = sparse.coo_matrix((data, (rows.astype(np.int32, copy=False), places)), shape=shape)
    by_column = entries.tocsc()  # each column's rows ascending, whatever the order of arrival
    del entries, places, data
    if by_column.nnz < len(rows):
        raise DataError(f"neighbours: {len(rows) - by_column.nnz} pairs of row and column are given more than once")
    squares = _column_sums(by_column.data**2, by_column.indptr)
    longest_first = np.lexsort((names, -squares))
    ordered = by_column[:, longest_first]
    content = {
        "cols": names[longest_first],
        "indptr": ordered.indptr.astype(np.int64),
        "indices": ordered.indices.astype(np.int32, copy=False),
        "weights": np.empty(0) if binary else ordered.data,
        "norms": np.sqrt(squares[longest_first]),
        "masses": _column_sums(ordered.data, ordered.indptr),
        "peaks": np.maximum.reduceat(ordered.data, ordered.indptr[:-1]).astype(np.float64),
    }
    save_arrays(folder, {_array_name(block, name): values for name, values in content.items()})
    return BlockSummary(block, len(names), len(rows), shape[0] - 1, float(weights.max()), integral)


class Columns:
    """The columns of a packed block, longest first. num_rows: see `Block`."""

    def __init__(self, arrays: dict[str, npt.NDArray[Any]], num_rows: int) -> None:
        self.cols: Ints = arrays["cols"]
        self.norms: Floats = arrays["norms"]
        self.masses: Floats = arrays["masses"]
        self.peaks: Floats = arrays["peaks"]
        self.indptr: Ints = arrays["indptr"]
        self.indices: npt.NDArray[np.int32] = arrays["indices"]
        self.num_rows = num_rows
        self._weights: Floats = arrays["weights"]
        self._data: dict[str, npt.NDArray[np.generic]] = {}

    def part(self, start: int, stop: int, dtype: str, pattern: bool = False) -> sparse.csr_matrix:
        """Columns start..stop as a CSR matrix (columns of the block, rows); with `pattern`, ones instead of weights."""
        first, last = self.indptr[start], self.indptr[stop]
        data = self._values(dtype, pattern)[first:last]
        index = (data, self.indices[first:last], (self.indptr[start : stop + 1] - first).astype(np.int32))
        return sparse.csr_matrix(index, shape=(stop - start, self.num_rows), copy=False)

    def length(self, start: int, stop: int) -> int:
        """Entries of columns start..stop."""
        return int(self.indptr[stop] - self.indptr[start])

    def _values(self, dtype: str, pattern: bool) -> npt.NDArray[np.generic]:
        ones = pattern or len(self._weights) == 0
        key = f"{dtype}, ones" if ones else dtype
        if key not in self._data:
            self._data[key] = np.ones(len(self.indices), dtype) if ones else self._weights.astype(dtype, copy=False)
        return self._data[key]


class Block:
    """A packed block in memory. Its columns are cut into tiles of similar length.

    num_rows: rows of the whole matrix plus one (indices are dense from 1), the same for all blocks.
    """

    def __init__(self, arrays: dict[str, npt.NDArray[Any]], num_rows: int) -> None:
        self.columns = Columns(arrays, num_rows)

    @cached_property
    def tiles(self) -> list[Tile]:
        """The block's columns in pieces, longest columns first."""
        num_columns = len(self.columns.cols)
        edges = [0]
        width = FIRST_TILE
        while edges[-1] < num_columns:
            edges.append(min(edges[-1] + width, num_columns))
            width *= TILE_GROWTH
        # Not of the block itself: what refers to one another is freed by the garbage collector alone, long after.
        return [Tile(self.columns, start, stop) for start, stop in pairwise(edges)]

    @cached_property
    def row_counts(self) -> npt.NDArray[np.float32]:
        """Entries of the block in each row, (num_rows,)."""
        return np.bincount(self.columns.indices, minlength=self.columns.num_rows).astype(np.float32)

    def multiply_adds(self) -> Floats:
        """The multiply-adds of each column's products with all columns of the block."""
        return np.add.reduceat(self.row_counts[self.columns.indices], self.columns.indptr[:-1], dtype=np.float64)


class Tile:
    """Columns start..stop of a block, with the figures that bound their similarity to other columns."""

    def __init__(self, columns: Columns, start: int, stop: int) -> None:
        self.columns, self.start, self.stop = columns, start, stop
        self.cols = columns.cols[start:stop]
        self.norms = columns.norms[start:stop]
        self.inverse_norms = (1.0 / self.norms).astype(np.float32)
        self.shortest, self.longest = float(self.norms.min()), float(self.norms.max())
        self.peak_share = float((columns.peaks[start:stop] / self.norms).max())
        self.mass_share = float((columns.masses[start:stop] / self.norms).max())
        self.nonzeros = columns.length(start, stop)
        self._by_row: dict[tuple[str, bool], sparse.csr_matrix] = {}
        self._slices: dict[tuple[str, bool], list[sparse.csr_matrix]] = {}

    @cached_property
    def row_counts(self) -> npt.NDArray[np.float32]:
        """Entries of the tile in each row, (num_rows,)."""
        indices = self.columns.part(self.start, self.stop, "int16", pattern=True).indices
        return np.bincount(indices, minlength=self.columns.num_rows).astype(np.float32)

    def by_row(self, dtype: str, pattern: bool = False) -> sparse.csr_matrix:
        """The tile as CSR (num_rows, columns)."""
        key = (dtype, pattern)
        if key not in self._by_row:
            self._by_row[key] = self.columns.part(self.start, self.stop, dtype, pattern).T.tocsr()
        return self._by_row[key]

    def slices(self, dtype: str, pattern: bool = False) -> list[sparse.csr_matrix]:
        """The tile's columns, SLICE at a time, each as CSR (columns, num_rows)."""
        key = (dtype, pattern)
        if key not in self._slices:
            starts = range(self.start, self.stop, SLICE)
            parts = [self.columns.part(start, min(start + SLICE, self.stop), dtype, pattern) for start in starts]
            self._slices[key] = parts
        return self._slices[key]


@lru_cache(maxsize=1)
def load_block(folder: str, block: int, num_rows: int) -> Block:
    """A packed block; the last one is kept for the next task of the process. A folder's blocks must never change."""
    names = {name: _array_name(block, name) for name in _ARRAYS}
    arrays = load_arrays(folder, names.values())
    return Block({name: arrays[stored] for name, stored in names.items()}, num_rows)


def _array_name(block: int, name: str) -> str:
    return f"block_{block:05d}_{name}"


def _fullest_first(rows: Indices) -> npt.NDArray[np.int32]:
    """Rows renumbered by falling number of entries, ties by index."""
    counts = np.bincount(rows)
    number_of = np.empty(len(counts), dtype=np.int32)
    number_of[np.argsort(-counts, kind="stable")] = np.arange(len(counts), dtype=np.int32)
    return number_of[rows]


def _dense_places(cols: Indices) -> tuple[Ints, npt.NDArray[np.int32]]:
    """The distinct values, ascending, and the place of each value among them; indices are dense, so without a sort."""
    place_of = np.zeros(int(cols.max()) + 1, dtype=np.int32)
    place_of[cols] = 1
    names = np.flatnonzero(place_of)
    place_of[names] = np.arange(len(names), dtype=np.int32)
    return names, place_of[cols]


def _column_sums(values: npt.NDArray[Any], indptr: Ints) -> Floats:
    return np.add.reduceat(values, indptr[:-1], dtype=np.float64)  # no column is empty


def _check_entries(rows: Indices, cols: Indices, weights: Floats) -> None:
    for name, index in (("row", rows), ("col", cols)):
        if len(index) and not (index.min() >= 0 and index.max() <= MAX_INDEX):
            raise DataError(f"neighbours: {name} must lie in 0..{MAX_INDEX}, found {index.min()}..{index.max()}")
    if not np.all((weights >= MIN_WEIGHT) & (weights < np.inf)):
        raise DataError(f"neighbours: weight must be finite and at least {MIN_WEIGHT}; drop or lift the others first")
