"""Queries as rows of a sparse matrix, and the best of each row of a product of such matrices.

No product is larger than a part of some queries at a time, and only as many items of a query are kept as its lists can
take: a list of `depth` items that were never bought may have every item bought before in front of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from scipy import sparse

from recsys_spark.arrays import Floats, Ints, order_best_first
from recsys_spark.baselines.personal import decayed
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import SCORE_DECIMALS, Scored
from recsys_spark.baselines.sparse_products import one_pass_product

_PRODUCT_ENTRIES = 4_000_000  # multiply-adds of one part; an entry takes 12 bytes, and a few copies of it exist


def profiles(batch: QueryBatch, half_life_days: float) -> sparse.csr_matrix:
    """`personal.decayed` as a matrix, (Q, items).

    That it counts days from the customer's last purchase is a scale of a row's own: it leaves an order by the profile
    alone as it is, and moves it where the score has a part that does not scale alike: the neighbours of user_knn, the
    prior of new items, the cap of nmf, and the self weights of item_knn and ease, which go with the square of the
    profile.
    """
    return as_rows(decayed(batch, half_life_days), len(batch))


def heaviest_of_rows(matrix: sparse.csr_matrix, number: int) -> sparse.csr_matrix:
    """The matrix with the `number` largest entries of each row; ties by column."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = order_best_first(rows, matrix.indices, matrix.data)
    kept = np.sort(order[np.arange(len(order)) - matrix.indptr[rows] < number])  # rows ascend in both orders
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=matrix.shape[0]))])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


def raised(matrix: sparse.csr_matrix, exponent: float) -> sparse.csr_matrix:
    """The matrix with its entries to the power of the exponent."""
    if exponent == 1:
        return matrix
    return sparse.csr_matrix((matrix.data**exponent, matrix.indices, matrix.indptr), shape=matrix.shape)


def as_rows(scored: Scored, num_queries: int) -> sparse.csr_matrix:
    """Scores as a sparse matrix, (Q, items)."""
    shape = (num_queries, int(scored.items.max(initial=0)) + 1)
    matrix = sparse.csr_matrix((scored.scores, (scored.rows, scored.items)), shape=shape)
    matrix.sort_indices()
    return matrix


def fitted_to(matrix: sparse.csr_matrix, num_columns: int) -> sparse.csr_matrix:
    """The matrix with that many columns: cut, or with empty ones behind."""
    resized = matrix.copy()
    resized.resize((matrix.shape[0], num_columns))
    return resized


def trend(popularity: FittedPopularity, exponent: float, num_items: int) -> Floats:
    """((recent share of sales) / (share of all sales)) ** exponent by item_idx, one event added to every count."""
    return trend_of(popularity, exponent, np.arange(num_items))


def trend_of(popularity: FittedPopularity, exponent: float, items: Ints) -> Floats:
    """`trend` of some items."""
    if exponent == 0:
        return np.ones(len(items))
    known = _trend(popularity, exponent)
    is_known = items < len(known)
    return np.where(is_known, known[np.where(is_known, items, 0)], 1.0)


@functools.lru_cache(maxsize=4)
def _trend(popularity: FittedPopularity, exponent: float) -> Floats:
    items, total, recent = popularity.counts()
    shares = [(counts + 1.0) / (counts.sum() + len(items)) for counts in (recent, total)]
    factors = np.ones(int(items.max(initial=0)) + 1)
    factors[items] = (shares[0] / shares[1]) ** exponent
    return factors


def best_of_product(
    batch: QueryBatch, left: sparse.csr_matrix, right: sparse.csr_matrix, own: sparse.csr_matrix, factors: Floats
) -> Scored:
    """The best items of each row of `(left @ right) * factors + own`, (Q, items); scores of 0 or less are left out.

    factors: by item_idx, at least as many as there are columns.
    """
    left = fitted_to(left, right.shape[0])
    num_items, wanted = max(right.shape[1], own.shape[1]), num_wanted(batch)
    counts, found = np.diff(right.indptr), []
    for part in row_parts(left, right):
        product = one_pass_product(left[part], right, counts)
        product.resize(product.shape[0], num_items)
        product.data *= factors[product.indices]
        if own.nnz:
            product = (product + fitted_to(own[part], num_items)).tocsr()
        found.append(best_of_rows(product, wanted[part], part.start))
    return together(found)


def nothing_own(num_queries: int) -> sparse.csr_matrix:
    """No scores of a model's own, beside a product."""
    return sparse.csr_matrix((num_queries, 1))


def row_parts(left: sparse.csr_matrix, right: sparse.csr_matrix) -> Iterator[slice]:
    """The rows of left @ right in parts of bounded work."""
    pattern = sparse.csr_matrix((np.ones(left.nnz), left.indices, left.indptr), shape=left.shape)
    reached = np.cumsum(pattern @ np.diff(right.indptr))
    first = 0
    while first < left.shape[0]:
        before = reached[first - 1] if first else 0.0
        last = max(int(np.searchsorted(reached, before + _PRODUCT_ENTRIES, side="right")), first + 1)
        yield slice(first, min(last, left.shape[0]))
        first = last


def num_wanted(batch: QueryBatch) -> Ints:
    """How many of its best items a query's lists can need, (Q,): all that was bought before it may be masked, even
    where a model is asked about a part of it.
    """
    return batch.num_bought + batch.depth


def together(parts: list[Scored]) -> Scored:
    """Parts of a batch as one."""
    nothing = Scored(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    every = [*parts, nothing]
    return Scored(
        np.concatenate([part.rows for part in every]),
        np.concatenate([part.items for part in every]),
        np.concatenate([part.scores for part in every]),
    )


def best_of_rows(matrix: sparse.csr_matrix, wanted: Ints, first_row: int) -> Scored:
    """The `wanted` largest of each row and what ties with the last of them, after rounding."""
    values = np.round(matrix.data, SCORE_DECIMALS)
    keep = values > 0
    for row in np.flatnonzero(np.diff(matrix.indptr) > wanted):
        of_row = slice(matrix.indptr[row], matrix.indptr[row + 1])
        place = int(matrix.indptr[row + 1] - matrix.indptr[row] - wanted[row])
        keep[of_row] &= values[of_row] >= np.partition(values[of_row], place)[place]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[keep]
    return Scored(rows + first_row, matrix.indices[keep].astype(np.int64), values[keep])
