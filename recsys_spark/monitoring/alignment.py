"""The rotation between two runs' towers, and how far vectors moved beyond it.

Scores are dot products, so towers are defined only up to one rotation that item and user vectors share. It is fitted
on the items that both runs have, by orthogonal Procrustes (Schoenemann, Psychometrika 31(1), 1966): with A and B their
centred vectors and U S V' the singular value decomposition of A'B, the rotation of the first run is R = U V'. What is
left of a difference of means and of covariances after it is drift, and a run whose user vectors were rotated otherwise
than its items drifts too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.arrays import Floats, Ints
from recsys_spark.candidates.tower_files import FittedFile

Vectors = tuple[FittedFile, FittedFile]  # of the reference and the current run, row = index
_SUMS = "sums binary"
# Weight of the means among the covariances: it settles the rotation where the centred vectors have no extent.
_WEIGHT_OF_MEANS = 1e-6


@dataclass(frozen=True)
class Moments:
    """Of the vectors of common ids, in both runs; d is their length."""

    count: int
    means: tuple[Floats, Floats]  # (d,)
    covariances: tuple[Floats, Floats]  # (d, d)
    cross: Floats  # (d, d), reference by current


def moments(pairs: DataFrame, vectors: Vectors, dim: int) -> Moments:
    """Of the ids in both runs that have a vector in both. pairs: first and second, an id's rows in the two arrays."""
    partial_sums = pairs.select("first", "second").mapInArrow(partial(_add_up, vectors=vectors, dim=dim), _SUMS)
    row = partial_sums.repartition(1).mapInArrow(_add_partitions, _SUMS).first()  # a few d x d matrices each
    sums = np.frombuffer(row["sums"], "<f8") if row else np.zeros(1 + 2 * dim + 3 * dim * dim)
    count, first, second = sums[0], sums[1 : 1 + dim], sums[1 + dim : 1 + 2 * dim]
    products = sums[1 + 2 * dim :].reshape(3, dim, dim) / max(count, 1)
    means = first / max(count, 1), second / max(count, 1)
    covariances = products[0] - np.outer(means[0], means[0]), products[1] - np.outer(means[1], means[1])
    return Moments(int(count), means, covariances, products[2] - np.outer(*means))


def rotation(items: Moments) -> Floats:
    """R, (d, d): the reference's vectors times R lie as near as a rotation brings them to the current ones."""
    left, _, right = np.linalg.svd(items.cross + _WEIGHT_OF_MEANS * np.outer(*items.means))
    return left @ right


def mean_shift(of: Moments, turned: Floats) -> float:
    """Distance of the means after the rotation; vectors have length 1."""
    return float(np.linalg.norm(of.means[0] @ turned - of.means[1]))


def covariance_shift(of: Moments, turned: Floats) -> float:
    """Frobenius distance of the covariances after the rotation, over the size of the reference's."""
    size = float(np.linalg.norm(of.covariances[0]))
    moved = float(np.linalg.norm(turned.T @ of.covariances[0] @ turned - of.covariances[1]))
    return moved / size if size else moved


def both_sides(batch: pa.RecordBatch, vectors: Vectors) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Vectors of a batch of pairs in both runs, and which pairs have one in both."""
    first, second = (rows_of(file, batch.column(place).to_numpy()) for place, file in enumerate(vectors))
    return first, second, first.any(axis=1) & second.any(axis=1)


def rows_of(file: FittedFile, rows: Ints) -> Floats:
    """Vectors of some indices; zeros for one beyond the array."""
    array = file.array()
    inside = rows < len(array)
    found = np.zeros((len(rows), array.shape[1]))
    found[inside] = array[rows[inside]]
    return found


def _add_up(batches: Iterable[pa.RecordBatch], vectors: Vectors, dim: int) -> Iterator[pa.RecordBatch]:
    total = np.zeros(1 + 2 * dim + 3 * dim * dim)
    for batch in batches:
        first, second, is_held = both_sides(batch, vectors)
        a, b = first[is_held], second[is_held]
        products = [product.ravel() for product in (a.T @ a, b.T @ b, a.T @ b)]
        total += np.concatenate([[len(a)], a.sum(axis=0), b.sum(axis=0), *products])
    yield _as_batch(total)


def _add_partitions(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    parts = [np.frombuffer(sums.as_buffer(), "<f8") for batch in batches for sums in batch.column("sums")]
    if parts:
        yield _as_batch(np.sum(parts, axis=0))


def _as_batch(sums: Floats) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([sums.astype("<f8").tobytes()], pa.binary())], names=["sums"])
