"""One query, as a server asks: what `profiles.best_of_product` gives, to the last bit, without sparse matrices.

For one row these cost more to set up than to multiply. Sums are taken in the order in which SciPy takes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_spark.arrays import Floats, Ints
from recsys_spark.baselines.personal import sum_pairs
from recsys_spark.baselines.profiles import num_wanted
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import SCORE_DECIMALS, Scored
from recsys_spark.sequences.windows import MICROS_PER_DAY

_DENSE_FROM = 8  # columns per entry reached: with fewer, sorting the entries takes longer than an array of all columns


@dataclass(frozen=True)
class Row:
    """Entries of a row of a sparse matrix, columns ascending."""

    columns: Ints
    values: Floats

    @property
    def total(self) -> float:
        """The sum of the values."""
        return float(np.add.reduceat(self.values, [0])[0]) if len(self.values) else 0.0

    def heaviest(self, number: int) -> Row:
        """As `heaviest_of_rows`."""
        if len(self.columns) <= number:
            return self
        kept = np.sort(np.lexsort((self.columns, -self.values))[:number])
        return Row(self.columns[kept], self.values[kept])

    def times(self, matrix: sparse.csr_matrix) -> Row:
        """The row times a matrix, with zeros among its values; in time by what the row reaches, not by the columns."""
        known = self.columns < matrix.shape[0]
        columns, values = self.columns[known], self.values[known]
        starts = matrix.indptr[columns].astype(np.int64)
        sizes = matrix.indptr[columns + 1] - starts
        places = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes - starts, sizes)
        reached, terms = matrix.indices[places].astype(np.int64), np.repeat(values, sizes) * matrix.data[places]
        if len(places) * _DENSE_FROM > matrix.shape[1]:
            sums = np.bincount(reached, weights=terms)
            found = np.flatnonzero(sums)
            sums = sums[found]
        else:
            found, place = np.unique(reached, return_inverse=True)
            sums = np.bincount(place, weights=terms)
        return Row(found, sums.astype(np.float64, copy=False))  # of nothing they are integers

    def raised(self, exponent: float) -> Row:
        """As `profiles.raised`."""
        return self if exponent == 1 else Row(self.columns, self.values**exponent)

    def scaled(self, factor: float) -> Row:
        return Row(self.columns, factor * self.values)


def row_of(matrix: sparse.csr_matrix, number: int) -> Row:
    """A row of a matrix; one beyond its last is empty."""
    if number >= matrix.shape[0]:
        return Row(np.zeros(0, dtype=np.int64), np.zeros(0))
    own = slice(matrix.indptr[number], matrix.indptr[number + 1])
    return Row(matrix.indices[own].astype(np.int64), matrix.data[own])


def profile_of_one(batch: QueryBatch, half_life_days: float) -> Row:
    """As `profiles` of a batch of one query."""
    own = slice(int(batch.start[0]), int(batch.end[0]))
    micros = batch.events.micros[own]
    days = (micros[-1:] - micros) / MICROS_PER_DAY
    items = batch.events.items[own]
    sums = sum_pairs(np.zeros(len(items), dtype=np.int64), items, np.exp2(-days / half_life_days))
    return Row(sums.items, sums.scores)


def best_of_one(batch: QueryBatch, product: Row, factors: Floats, own: Row | None = None) -> Scored:
    """As `best_of_product`, of a product that is there: the best of `product * factors + own`; a factor per column."""
    total = Row(product.columns, product.values * factors)
    if own is not None:
        items = np.union1d(total.columns, own.columns)
        values = np.zeros(len(items))
        values[np.searchsorted(items, total.columns)] = total.values
        values[np.searchsorted(items, own.columns)] += own.values
        total = Row(items, values)
    values = np.round(total.values, SCORE_DECIMALS)
    keep, wanted = values > 0, int(num_wanted(batch)[0])
    if len(values) > wanted:
        place = len(values) - wanted
        keep &= values >= np.partition(values, place)[place]
    return Scored(np.zeros(int(keep.sum()), dtype=np.int64), total.columns[keep], values[keep])
