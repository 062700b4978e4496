"""The most similar columns of each column of a sparse matrix, one group of columns against one tile at a time.

similarity(i, j) = dot(i, j) / (|i| |j| + shrinkage), rounded to 1e-6; ties go to the smaller column. A product is made
by whichever of two kernels costs less: sparse x sparse, or sparse x a few dense columns. A tile that cannot hold a
better neighbour than those found so far is left out (bounds as in the all-pairs search of Bayardo et al., WWW 2007).
Dot products add up row by row in ascending order, so they do not depend on how the matrix was cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recsys_spark.arrays import Floats, Ints
from recsys_spark.baselines.sparse_blocks import Block, Columns, Tile
from recsys_spark.baselines.sparse_products import one_pass_product
from recsys_spark.baselines.thresholds import nth_largest_of_columns, nth_largest_of_rows

SCORE_STEPS = 10**6  # a score is a whole number of millionths
_COL_BITS, _SCORE_BITS = 31, 20
MAX_GROUP = 4095  # columns of a group; with the two above, a sort key and the end of the last fit 63 bits
_DENSE_GROUP = 128  # columns that the dense kernel takes at once; with 64, Complete Journey takes 4 to 15 % longer
_SPARSE_WORK = 1_000_000  # multiply-adds of a group's sparse product; the memory of larger ones is not reused
_SPARSE_ENTRIES = 16_000_000  # of one sparse product, a bound on the memory that it takes

# Nanoseconds on one core of a 2023 server: a sparse multiply-add with its share of the selection; a dense one by item
# size; the selection among one dense product.
_NS_SPARSE = 13.0
_NS_DENSE = {2: 0.12, 4: 0.28, 8: 0.5}
_NS_SELECT = 0.7
_CACHED_BYTES, _NS_UNCACHED_FACTOR = 16 << 20, 5.0


@dataclass(frozen=True)
class SimilarityRule:
    """How pairs are scored and kept.

    whole_weight: the largest weight, None where weights are not whole numbers. dense_bytes: what the dense kernel may
    hold of a group's columns.
    """

    num_neighbours: int
    shrinkage: float
    min_support: int
    whole_weight: float | None
    dense_bytes: int = 256 << 20

    def dtype_for(self, largest_mass: float) -> str:
        """The narrowest type that holds every partial sum of products with columns of that mass exactly.

        Whole weights make whole sums of at most mass x largest weight; others add up in float64.
        """
        if self.whole_weight is None:
            return "float64"
        largest = largest_mass * self.whole_weight
        return "int16" if largest < 2**15 else "float32" if largest < 2**24 else "float64"


class ColumnGroup:
    """Consecutive columns start..stop of a block, and the best neighbours found for them so far."""

    def __init__(self, columns: Columns, start: int, stop: int, rule: SimilarityRule) -> None:
        self.columns, self.start, self.stop, self.rule = columns, start, stop, rule
        self.size = stop - start
        self.cols = columns.cols[start:stop]
        self.norms = columns.norms[start:stop]
        self.mass_share = columns.masses[start:stop] / self.norms
        self.peak_share = columns.peaks[start:stop] / self.norms
        self.dtype = rule.dtype_for(float(columns.masses[start:stop].max()))
        self.thresholds = np.zeros(self.size)  # a score below cannot become a neighbour
        self._keys = [np.empty(0, np.int64)]  # sorted and cut to the best, then what came since
        self._num_new = 0

    def visit(self, block: Block) -> None:
        """Look for neighbours among the columns of a block, in the most promising tile first."""
        bounds = [(self._bounds(tile), tile) for tile in block.tiles]
        for bound, tile in sorted(bounds, key=lambda pair: -float(pair[0].mean())):
            alive = bound >= self.thresholds - 1.0 / SCORE_STEPS
            if alive.any():
                self._visit_tile(tile, np.flatnonzero(alive))
                self._compact_if(self.rule.num_neighbours * self.size // 2)
        for copy in ("_dense", "_dense_pattern"):  # large, and there are many groups
            self.__dict__.pop(copy, None)

    def neighbours(self) -> tuple[Ints, Ints, npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Column, neighbour, score and rank from 1, by place in the group and rank."""
        self._compact_if(0)
        keys = self._keys[0]
        places = keys >> (_COL_BITS + _SCORE_BITS)
        first = np.searchsorted(places, np.arange(self.size))
        rank = (np.arange(len(keys)) - first[places] + 1).astype(np.int32)
        scores = (_millionths(keys) / SCORE_STEPS).astype(np.float32)
        return self.cols[places], keys & ((1 << _COL_BITS) - 1), scores, rank

    def _bounds(self, tile: Tile) -> Floats:
        # dot(i, j) <= mass(i) peak(j) and <= peak(i) mass(j), as weights are positive; and <= |i| |j|.
        bound = np.minimum(self.mass_share * tile.peak_share, self.peak_share * tile.mass_share)
        longest = self.norms * tile.longest
        return np.minimum(bound * (1 + 1e-12), 1.0) * longest / (longest + self.rule.shrinkage)

    def _visit_tile(self, tile: Tile, alive: Ints) -> None:
        work = float(tile.row_counts[self._matrix.indices].sum(dtype=np.float64))
        if self._may_be_dense and self._dense_ns(tile) < work * _NS_SPARSE:
            self._visit_dense(tile)
            return
        entries = min(work, float(len(alive) * len(tile.cols)))
        for part in np.array_split(alive, max(math.ceil(entries / _SPARSE_ENTRIES), 1)):
            self._visit_sparse(tile, part)

    @property
    def _may_be_dense(self) -> bool:
        item_size = np.dtype(self.dtype).itemsize
        return self.size <= _DENSE_GROUP and self.columns.num_rows * self.size * item_size <= self.rule.dense_bytes

    def _dense_ns(self, tile: Tile) -> float:
        item_size = np.dtype(self.dtype).itemsize
        cached = self.columns.num_rows * self.size * item_size <= _CACHED_BYTES
        per_entry = _NS_DENSE[item_size] * (1.0 if cached else _NS_UNCACHED_FACTOR)
        return self.size * (tile.nonzeros * per_entry + len(tile.cols) * _NS_SELECT)

    @cached_property
    def _matrix(self) -> sparse.csr_matrix:
        return self.columns.part(self.start, self.stop, self.dtype)

    @cached_property
    def _pattern(self) -> sparse.csr_matrix:
        return self.columns.part(self.start, self.stop, self.dtype, pattern=True)

    @cached_property
    def _dense(self) -> npt.NDArray[np.generic]:
        return self._matrix.T.toarray(order="C")

    @cached_property
    def _dense_pattern(self) -> npt.NDArray[np.generic]:
        return self._pattern.T.toarray(order="C")

    @property
    def _counts_support(self) -> bool:
        return self.rule.min_support > 1

    def _visit_sparse(self, tile: Tile, alive: Ints) -> None:
        everyone = len(alive) == self.size
        matrix = self._matrix if everyone else self._matrix[alive]
        product = one_pass_product(matrix, tile.by_row(self.dtype), tile.row_counts)
        scaled = np.multiply(product.data, tile.inverse_norms[product.indices], dtype=np.float32)
        if self._counts_support:  # the same structure in the same order: no sum of positive products is zero
            pattern = self._pattern if everyone else self._pattern[alive]
            support = one_pass_product(pattern, tile.by_row(self.dtype, pattern=True), tile.row_counts).data
            scaled[support < self.rule.min_support] = 0.0
        if not self.thresholds[alive].any():
            self._raise_thresholds(tile, alive, nth_largest_of_rows(scaled, product.indptr, self._enough))
        limits = np.repeat(self._limits(tile)[alive], np.diff(product.indptr))
        hits = np.flatnonzero(scaled >= limits)
        rows = np.searchsorted(product.indptr, hits, side="right") - 1
        self._add(tile, alive[rows], product.indices[hits], product.data[hits])

    def _visit_dense(self, tile: Tile) -> None:
        patterns = tile.slices(self.dtype, pattern=True) if self._counts_support else []
        first = 0
        for number, columns_by_row in enumerate(tile.slices(self.dtype)):
            product = columns_by_row @ self._dense  # (tile columns, group columns)
            inverse_norms = tile.inverse_norms[first : first + len(product), None]
            scaled = np.multiply(product, inverse_norms, dtype=np.float32)
            if self._counts_support:
                scaled[patterns[number] @ self._dense_pattern < self.rule.min_support] = 0.0
            if not self.thresholds.any():
                self._raise_thresholds(tile, slice(None), nth_largest_of_columns(scaled, self._enough))
            hits = np.flatnonzero(scaled >= self._limits(tile))
            places, columns = np.divmod(hits, self.size)
            self._add(tile, columns, places + first, product.reshape(-1)[hits])
            first += len(product)
            self._compact_if(4 * self.rule.num_neighbours * self.size)

    @property
    def _enough(self) -> int:
        return self.rule.num_neighbours + 1  # a column may be among its own neighbours

    def _raise_thresholds(self, tile: Tile, columns: Ints | slice, reached: npt.NDArray[np.float32]) -> None:
        """reached: what dot / |j| of enough columns j of the tile reaches, 0 where they are too few."""
        norms = self.norms[columns]
        self.thresholds[columns] = reached * (1 - 1e-6) / (norms + self.rule.shrinkage / tile.shortest)

    def _limits(self, tile: Tile) -> npt.NDArray[np.float32]:
        """What dot / |j| must reach; a little low, as scores are rounded and float32 is not exact."""
        reach = (self.thresholds - 1.0 / SCORE_STEPS) * (1 - 1e-6)
        lowest = reach * (self.norms + self.rule.shrinkage / tile.longest)
        return np.maximum(lowest, np.finfo(np.float32).tiny).astype(np.float32)

    def _add(self, tile: Tile, columns: Ints, places: Ints, dots: npt.NDArray[Any]) -> None:
        scores = dots / (self.norms[columns] * tile.norms[places] + self.rule.shrinkage)
        millionths = np.rint(scores * SCORE_STEPS).astype(np.int64)
        others = tile.cols[places]
        high = (columns << _SCORE_BITS) + (SCORE_STEPS - millionths)
        keys = ((high << _COL_BITS) + others)[(millionths > 0) & (others != self.cols[columns])]
        self._keys.append(keys)
        self._num_new += len(keys)

    def _compact_if(self, num_new: int) -> None:
        """Where more than num_new keys came in: keep each column's best; the last of them is its new threshold."""
        if self._num_new <= num_new:
            return
        keys = np.sort(np.concatenate(self._keys))
        edges = np.searchsorted(keys, np.arange(self.size + 1) << (_COL_BITS + _SCORE_BITS))
        lengths = np.minimum(np.diff(edges), self.rule.num_neighbours)
        ends = np.cumsum(lengths)
        kept = keys[np.repeat(edges[:-1] - (ends - lengths), lengths) + np.arange(ends[-1])]
        full = np.flatnonzero(lengths == self.rule.num_neighbours)
        self.thresholds[full] = np.maximum(self.thresholds[full], _millionths(kept[ends[full] - 1]) / SCORE_STEPS)
        self._keys, self._num_new = [kept], 0


def column_groups(block: Block, rule: SimilarityRule) -> Iterator[ColumnGroup]:
    """Cut a block into groups: few columns where products are heavy, so that the dense kernel can take them."""
    work, columns = block.multiply_adds(), block.columns
    per_entry = _NS_DENSE[np.dtype(rule.dtype_for(float(columns.masses.max()))).itemsize]
    dense_ns = columns.length(0, len(work)) * per_entry + len(work) * _NS_SELECT
    totals = np.concatenate([[0.0], np.cumsum(work)])
    start = 0
    while start < len(work):
        if work[start] * _NS_SPARSE > dense_ns / 4:
            stop = start + _DENSE_GROUP
        else:
            stop = min(int(np.searchsorted(totals, totals[start] + _SPARSE_WORK, side="right")) - 1, start + MAX_GROUP)
        stop = min(max(stop, start + 1), len(work))
        yield ColumnGroup(columns, start, stop, rule)
        start = stop


def _millionths(keys: Ints) -> Ints:
    return SCORE_STEPS - ((keys >> _COL_BITS) & ((1 << _SCORE_BITS) - 1))
