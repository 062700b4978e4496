"""A sample of the training rows, chosen by hash in one pass: the same rows however they are ordered or shared out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recsys_spark.contracts.errors import DataError
from training.process_group import Group
from training.ranker.batches import ITEM, QUERY, RankerBatch
from training.windows import Batch

SAMPLE_ROWS = 131_072  # at which a mean is off by 0.3 % of a standard deviation

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.float32]


class HashSample:
    """The `size` rows with the smallest hashes of those added; holds less than twice as many and what is added."""

    def __init__(self, size: int, num_features: int) -> None:
        self._size, self._limit = size, np.uint64(np.iinfo(np.uint64).max)
        self._hashes: Hashes = np.empty(0, np.uint64)
        self._rows: Rows = np.empty((0, num_features), np.float32)
        self._added: list[tuple[Hashes, Rows]] = []

    def add(self, hashes_N: Hashes, rows_NF: Rows) -> None:
        is_small = hashes_N <= self._limit
        self._added.append((hashes_N[is_small], rows_NF[is_small]))
        if sum(len(hashes) for hashes, _ in self._added) >= self._size:
            self._compact()

    def rows(self) -> tuple[Hashes, Rows]:
        """The hashes, ascending, and their rows."""
        self._compact()
        return self._hashes, self._rows

    def _compact(self) -> None:
        """Keep the smallest hashes of all that was added, ascending."""
        hashes, rows = zip((self._hashes, self._rows), *self._added, strict=True)
        order = np.argsort(np.concatenate(hashes), kind="stable")[: self._size]
        self._hashes, self._rows, self._added = np.concatenate(hashes)[order], np.concatenate(rows)[order], []
        if len(order) == self._size:
            self._limit = self._hashes[-1]


def sample_rows(batches: Iterable[Batch], features: Sequence[str], group: Group, size: int = SAMPLE_ROWS) -> Rows:
    """Features of `size` rows of all ranks, or of all rows where they are fewer, the same on every rank, (S, F).

    batches: an epoch of this rank as the reader gives it. Raises DataError where no row of any rank is a positive, or
    where a feature is no finite number.
    """
    sample, positives = HashSample(size, len(features)), 0
    for columns in batches:
        batch = RankerBatch.of(columns, features)
        rows = batch.features.numpy()
        _require_finite(rows, features)
        positives += int((batch.label > 0).sum())
        sample.add(row_hashes(columns[QUERY].numpy(), columns[ITEM].numpy()), rows)
    require_positives(int(group.sum(torch.tensor(positives, device=group.device))))
    hashes, rows = sample.rows()
    of_all = HashSample(size, len(features))
    of_all.add(_gathered(hashes.view(np.int64), group).view(np.uint64), _gathered(rows, group))
    return of_all.rows()[1]


def require_positives(number: int) -> None:
    """Raise DataError where training would have no positive at all."""
    if number == 0:
        raise DataError(
            "the training rows hold no positive, so there is nothing to learn; look at the labels that the stage "
            "'features' wrote, and at the recall of the candidates"
        )


def row_hashes(query_N: npt.NDArray[np.int64], item_N: npt.NDArray[np.int64]) -> Hashes:
    """A hash of what names a row, (N,)."""
    mixed: Hashes = _mixed(_mixed(query_N.astype(np.uint64)) ^ item_N.astype(np.uint64))
    return mixed


def _mixed(values: Hashes) -> Hashes:
    """A step of SplitMix64, as recsys_spark/arrays.py has it; this side imports contracts alone."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _require_finite(rows_NF: Rows, features: Sequence[str]) -> None:
    is_finite = np.isfinite(rows_NF).all(axis=0)
    if not is_finite.all():
        odd = [name for name, fine in zip(features, is_finite, strict=True) if not fine]
        raise DataError(f"features {odd} hold values that are no finite number; fill them in the stage 'features'")


def _gathered(values: npt.NDArray[Any], group: Group) -> npt.NDArray[Any]:
    """The rows of all ranks."""
    found: npt.NDArray[Any] = group.gather_rows(torch.from_numpy(values).to(group.device)).cpu().numpy()
    return found
