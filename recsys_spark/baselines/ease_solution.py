"""EASE (Steck, WWW 2019): a linear model from items to items in closed form, in the smaller of its two dimensions.

With X (users, items) of zeros and ones, P = (X'X + l2 I)^-1 and weights B_ij = -P_ij / P_jj, B_jj = 0. By Woodbury,
P = (I - X' K X) / l2 with K = (X X' + l2 I)^-1, hence B_ij = (X' K X)_ij / (1 - (X' K X)_jj): where customers are fewer
than items only a matrix of customers is inverted, and the weights are made some items at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from recsys_spark.arrays import Floats, Ints, order_within, places_by_group
from recsys_spark.baselines.thresholds import nth_largest_of_columns

_WEIGHT_DECIMALS = 9
_ROWS = 512  # of a large square matrix that are made or mirrored at a time


@dataclass(frozen=True)
class EaseSolution:
    """What the weights are made of.

    inverse: P, (items, items), or K, (users, users). by_item: X', (items, users), with K; None with P.
    """

    inverse: Floats
    by_item: sparse.csr_matrix | None

    ARRAYS = ("inverse", "indptr", "indices")

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The solution as ARRAYS; those of X' are empty where it is not needed."""
        nothing = np.zeros(0, dtype=np.int32)
        index = (nothing, nothing) if self.by_item is None else (self.by_item.indptr, self.by_item.indices)
        return dict(zip(self.ARRAYS, (self.inverse, *index), strict=True))

    @staticmethod
    def of_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> EaseSolution:
        inverse, indptr, indices = (arrays[name] for name in EaseSolution.ARRAYS)
        if len(indptr) == 0:
            return EaseSolution(inverse, None)
        shape = (len(indptr) - 1, len(inverse))
        return EaseSolution(inverse, sparse.csr_matrix((np.ones(len(indices)), indices, indptr), shape=shape))

    def largest_weights(self, targets: Ints, num_weights: int) -> tuple[Ints, Ints, Floats, Ints]:
        """Target item, source item, weight, and rank from 1 by size, ties by source: some columns of B."""
        if self.by_item is None:
            block = self.inverse[targets] / -np.diag(self.inverse)[targets, None]  # symmetric, so rows are columns
        else:
            inner = np.ascontiguousarray((self.by_item[targets] @ self.inverse).T)  # K X, as K is symmetric
            block = np.ascontiguousarray((self.by_item @ inner).T)  # (targets, items)
            block /= 1.0 - block[np.arange(len(targets)), targets, None]
        block[np.arange(len(targets)), targets] = 0.0
        return _largest(block, targets, num_weights)


def solve(matrix: sparse.csr_matrix, l2: float) -> EaseSolution:
    """matrix: X, (users, items) of zeros and ones."""
    by_item = matrix.T.tocsr()
    if matrix.shape[0] < matrix.shape[1]:
        return EaseSolution(_inverse(_gram(matrix, by_item, l2)), by_item)
    return EaseSolution(_inverse(_gram(by_item, matrix, l2)), None)


def _gram(rows: sparse.csr_matrix, turned: sparse.csr_matrix, l2: float) -> Floats:
    """rows @ turned + l2 I; turned: rows'.

    A sparse product of many entries takes more than the dense one, so only parts exist.
    """
    gram = np.empty((rows.shape[0], rows.shape[0]))
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
    """block: (targets, items). Only those that may be among the largest of their row are rounded and sorted."""
    sizes = np.abs(block)
    least = nth_largest_of_columns(sizes.T, num_weights) - 10.0**-_WEIGHT_DECIMALS  # as rounding lifts some
    rows, sources = np.nonzero(sizes >= least[:, None])
    weights = np.round(block[rows, sources], _WEIGHT_DECIMALS)
    order = order_within(rows, -np.abs(weights))  # stable: ties go to the smaller source
    rows, sources, weights = rows[order], sources[order], weights[order]
    ranks = places_by_group(rows) + 1
    kept = (ranks <= num_weights) & (weights != 0)
    return targets[rows[kept]], sources[kept], weights[kept], ranks[kept]
