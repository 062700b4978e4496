"""EASE (Steck, WWW 2019): a linear model from items to items in closed form, in the smaller of its two dimensions.

With X (users, items) of zeros and ones, P = (X'X + l2 I)^-1 and weights B_ij = -P_ij / P_jj, B_jj = 0. By Woodbury,
P = (I - X' K X) / l2 with K = (X X' + l2 I)^-1, hence B_ij = (X' K X)_ij / (1 - (X' K X)_jj): where customers are fewer
than items only a matrix of customers is inverted, and the weights are made some items at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from scipy import linalg, sparse

from recsys_spark.arrays import Floats, Ints
from recsys_spark.contracts.model_config import EaseConfig
from recsys_spark.contracts.model_schemas import EASE_WEIGHTS

_BLOCK_BYTES = 64 << 20  # of the dense weights that exist at a time
_WEIGHT_DECIMALS = 9
_ROWS = 512  # of a large square matrix that are made or mirrored at a time


def fit_ease_weights(source: DataFrame, config: EaseConfig) -> DataFrame:
    """EASE_WEIGHTS of a KNN_SOURCE, the num_weights largest by size per item; one task makes them.

    Items of fewer than min_customers customers take no part. Where both customers and items are more than max_rank,
    the max_rank items with the most customers stay, ties by index: the matrix that is inverted takes 8 max_rank^2
    bytes, its inverse lies in the same place, and all else is made some rows at a time.
    """
    return source.select("user_idx", "item_idx").coalesce(1).mapInArrow(_solver(config), EASE_WEIGHTS.ddl)


def ease_weights(matrix: sparse.csr_matrix, l2: float, num_weights: int) -> Iterator[tuple[Ints, Ints, Floats, Ints]]:
    """Target item, source item, weight, and rank from 1 by size, some columns of B at a time.

    matrix: (users, items) of zeros and ones.
    """
    columns = _dual(matrix, l2) if matrix.shape[0] < matrix.shape[1] else _primal(matrix, l2)
    width = max(_BLOCK_BYTES // (8 * max(matrix.shape[1], 1)), 1)
    for start in range(0, matrix.shape[1], width):
        targets = np.arange(start, min(start + width, matrix.shape[1]))
        block = np.round(columns(targets), _WEIGHT_DECIMALS)
        block[np.arange(len(targets)), targets] = 0.0
        yield _largest(block, targets, num_weights)


def _primal(matrix: sparse.csr_matrix, l2: float) -> Callable[[Ints], Floats]:
    inverse = _inverse(_gram(matrix.T.tocsr(), l2))
    diagonal = np.diag(inverse).copy()
    return lambda targets: inverse[targets] / -diagonal[targets, None]  # symmetric, so rows are columns


def _dual(matrix: sparse.csr_matrix, l2: float) -> Callable[[Ints], Floats]:
    inverse = _inverse(_gram(matrix, l2))
    by_item = matrix.T.tocsr()

    def columns(targets: Ints) -> Floats:
        inner = np.ascontiguousarray((by_item[targets] @ inverse).T)  # K X, as K is symmetric
        explained = np.ascontiguousarray((by_item @ inner).T)  # (targets, items)
        return explained / (1.0 - explained[np.arange(len(targets)), targets, None])

    return columns


def _gram(rows: sparse.csr_matrix, l2: float) -> Floats:
    """rows @ rows' + l2 I. A sparse product of many entries takes more than the dense one, so only parts exist."""
    gram = np.empty((rows.shape[0], rows.shape[0]))
    turned = rows.T.tocsr()
    for part in _parts(len(gram)):
        gram[part] = (rows[part] @ turned).toarray()
    gram[np.diag_indices_from(gram)] += l2
    return gram


def _inverse(gram: Floats) -> Floats:
    """The inverse of a symmetric, positive definite matrix, in whose place it lies."""
    # LAPACK overwrites columns that lie together, as those of the transpose do.
    factor, failed = linalg.lapack.dpotrf(gram.T, lower=True, clean=False, overwrite_a=True)
    assert failed == 0
    turned, failed = linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)
    assert failed == 0
    inverse: Floats = turned.T
    for part in _parts(len(inverse)):
        inverse[part, : part.start] = inverse[: part.start, part].T
        corner = inverse[part, part]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
    return inverse


def _parts(num_rows: int) -> Iterator[slice]:
    return (slice(start, min(start + _ROWS, num_rows)) for start in range(0, num_rows, _ROWS))


def _largest(block: Floats, targets: Ints, num_weights: int) -> tuple[Ints, Ints, Floats, Ints]:
    """block: (targets, items). Which of equal weights at the cut stay follows from the block alone."""
    num_kept = min(num_weights, block.shape[1])
    size = -np.abs(block)
    chosen = np.sort(np.argpartition(size, num_kept - 1, axis=1)[:, :num_kept], axis=1)
    order = np.argsort(np.take_along_axis(size, chosen, axis=1), axis=1, kind="stable")  # ties by index
    chosen = np.take_along_axis(chosen, order, axis=1)
    weights = np.take_along_axis(block, chosen, axis=1)
    ranks = np.broadcast_to(np.arange(1, num_kept + 1), weights.shape)
    owners = np.broadcast_to(targets[:, None], weights.shape)
    kept = weights != 0
    return owners[kept], chosen[kept], weights[kept], ranks[kept]


def _solver(config: EaseConfig) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def solve(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = [[column.to_numpy() for column in batch.columns] for batch in batches if batch.num_rows]
        if not parts:
            return
        users, items = (np.concatenate(column) for column in zip(*parts, strict=True))
        chosen = _chosen_items(users, items, config)
        if len(chosen) == 0:  # no item with enough customers
            return
        keep = np.isin(items, chosen)
        known_users, rows = np.unique(users[keep], return_inverse=True)
        ones = np.ones(len(rows))
        shape = (len(known_users), len(chosen))
        matrix = sparse.csr_matrix((ones, (rows, np.searchsorted(chosen, items[keep]))), shape=shape)
        for targets, sources, weights, ranks in ease_weights(matrix, config.l2, config.num_weights):
            arrays = [chosen[targets], chosen[sources], weights, ranks.astype(np.int32)]
            yield pa.RecordBatch.from_arrays([pa.array(values) for values in arrays], names=EASE_WEIGHTS.names)

    return solve


def _chosen_items(users: Ints, items: Ints, config: EaseConfig) -> Ints:
    """The items that take part, ascending."""
    customers = np.bincount(items)  # a KNN_SOURCE has one row per customer and item
    common = np.flatnonzero(customers >= config.min_customers)
    if min(len(common), len(np.unique(users))) <= config.max_rank:
        return common
    return np.sort(common[np.lexsort((common, -customers[common]))][: config.max_rank])
