"""One query, as a server asks: what `profiles.best_of_product` gives, to the last bit, without sparse matrices.

For one row these cost more to set up than to multiply. Sums are taken in the order in which SciPy takes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_spark.baselines.personal import sum_pairs
from recsys_spark.baselines.profiles import num_wanted
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import SCORE_DECIMALS, Floats, Scored
from recsys_spark.sequences.windows import MICROS_PER_DAY, Ints


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

    def times(self, matrix: sparse.csr_matrix) -> Floats:
        """The row times a matrix, dense, (columns of the matrix,)."""
        known = self.columns < matrix.shape[0]
        columns, values = self.columns[known], self.values[known]
        starts = matrix.indptr[columns].astype(np.int64)
        sizes = matrix.indptr[columns + 1] - starts
        places = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes - starts, sizes)
        terms = np.repeat(values, sizes) * matrix.data[places]
        sums = np.bincount(matrix.indices[places], weights=terms, minlength=matrix.shape[1])
        return sums.astype(np.float64, copy=False)  # bincount of nothing are integers

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


def best_of_one(batch: QueryBatch, product: Floats, factors: Floats, own: Row | None = None) -> Scored:
    """As `best_of_product`, of a product that is there: the best of `product * factors + own`."""
    size = len(product) if own is None else max(len(product), int(own.columns.max(initial=-1)) + 1)
    total = np.zeros(size)
    total[: len(product)] = product * factors[: len(product)]
    if own is not None:
        total[own.columns] += own.values
    items = np.flatnonzero(total > 0)
    values = np.round(total[items], SCORE_DECIMALS)
    keep, wanted = values > 0, int(num_wanted(batch)[0])
    if len(values) > wanted:
        place = len(values) - wanted
        keep &= values >= np.partition(values, place)[place]
    return Scored(np.zeros(int(keep.sum()), dtype=np.int64), items[keep], values[keep])
