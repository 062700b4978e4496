"""Which of the customer's own products speak for a recommended one, and when it was bought itself. NumPy kernels."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recsys_spark.arrays import Floats, Ints, find, items_of_keys, pair_keys, rows_of_keys
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.purchases import Purchases
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.sequences.windows import MICROS_PER_DAY

_PAIRS_AT_A_TIME = 200_000  # bounds the vectors that are held: two per pair


@dataclass(frozen=True)
class OwnPurchases:
    """Of each listed item, (P,) each. gap_days: mean days between purchases, NaN below two; days: whole days since the
    last one, 0 where there is none.
    """

    times: Ints
    days: Ints
    gap_days: Floats


@dataclass(frozen=True)
class Related:
    """Of each listed item one of the customer's newest products, (P,) each: item_idx, 0 for none; whole days since its
    last purchase; how near it is.
    """

    items: Ints
    days: Ints
    scores: Floats


@dataclass(frozen=True)
class EvidenceSource:
    """What relates items to each other, of one fit. neighbours: ITEM_NEIGHBOURS; vectors: of a tower, unit length by
    item_idx. Either may be missing; the other then stands in.

    recent_items: how many of a customer's newest products are looked at.
    """

    neighbours: FittedTable | None
    vectors: FittedFile | None
    recent_items: int

    def together(self, batch: QueryBatch, bought: Purchases, rows: Ints, items: Ints) -> Related:
        """By neighbours: which of the newest products the item is bought together with."""
        if self.neighbours is None:
            return self.similar(batch, bought, rows, items) if self.vectors else _nothing(len(rows))
        scores = functools.partial(_neighbour_scores, self.neighbours)
        return _best(batch, _newest(batch, bought, self.recent_items), rows, items, scores)

    def similar(self, batch: QueryBatch, bought: Purchases, rows: Ints, items: Ints) -> Related:
        """By vectors: which of the newest products the item is most like; scores are cosines."""
        if self.vectors is None:
            return self.together(batch, bought, rows, items) if self.neighbours else _nothing(len(rows))
        vectors = self.vectors.array()
        cosines = functools.partial(_cosines, vectors)
        return _best(batch, _newest(batch, bought, self.recent_items), rows, items, cosines)


def own_purchases(batch: QueryBatch, bought: Purchases, rows: Ints, items: Ints) -> OwnPurchases:
    """How each query's customer bought each listed item before. rows, items: the listed pairs."""
    places, is_own = find(bought.keys, pair_keys(rows, items))
    if not len(bought.keys):
        nothing = np.zeros(len(rows), dtype=np.int64)
        return OwnPurchases(nothing, nothing, np.full(len(rows), np.nan))
    times = np.where(is_own, bought.times[places], 0)
    days = np.floor(batch.days_before(rows, bought.last[places])).astype(np.int64)
    micros = batch.events.micros
    span = (micros[bought.last[places]] - micros[bought.first[places]]) / MICROS_PER_DAY
    gaps = np.divide(span, times - 1, out=np.full(len(rows), np.nan), where=times > 1)
    return OwnPurchases(times, np.where(is_own, days, 0), gaps)


def category_purchases(batch: QueryBatch, rows: Ints, items: Ints, category: Ints) -> Ints:
    """How many purchases of each query's customer were in the category of each listed item, 0 without one, (P,).

    category: numbers of the groups by item_idx, 0 for none.
    """
    event_rows, positions = batch.earlier()
    every = np.concatenate([category[batch.events.items[positions]], category[items]])
    _, numbers = np.unique(every, return_inverse=True)  # small enough for a key
    keys, counts = np.unique(pair_keys(event_rows, numbers[: len(event_rows)]), return_counts=True)
    places, is_there = find(keys, pair_keys(rows, numbers[len(event_rows) :]))
    if not len(keys):
        return np.zeros(len(rows), dtype=np.int64)
    return np.where(is_there & (category[items] > 0), counts[places], 0)


@dataclass(frozen=True)
class _Newest:
    """The newest products of each query, (Q, R), newest first: item_idx, 0 beyond the last, and when it was bought."""

    items: Ints
    micros: Ints


def _newest(batch: QueryBatch, bought: Purchases, number: int) -> _Newest:
    rows = rows_of_keys(bought.keys)
    order = np.lexsort((-bought.last, rows))
    place = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
    kept = order[place < number]
    shape = (len(batch), number)
    items, micros = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    at = rows[kept], place[place < number]
    items[at], micros[at] = items_of_keys(bought.keys[kept]), batch.events.micros[bought.last[kept]]
    return _Newest(items, micros)


def _best(batch: QueryBatch, newest: _Newest, rows: Ints, items: Ints, score: functools.partial[Floats]) -> Related:
    """The nearest of the newest products to each listed item; the newer one where two are as near."""
    scores = np.zeros((len(rows), newest.items.shape[1]))
    step = max(_PAIRS_AT_A_TIME // newest.items.shape[1], 1)
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        others = newest.items[rows[part]]
        each = np.repeat(items[part], others.shape[1])
        found = score(others.ravel(), each).reshape(others.shape)
        scores[part] = np.where((others > 0) & (others != items[part][:, None]), found, 0.0)
    best = scores.argmax(axis=1)
    largest = scores[np.arange(len(rows)), best]
    days = (batch.micros[rows] - newest.micros[rows, best]) // MICROS_PER_DAY
    is_near = largest > 0
    return Related(np.where(is_near, newest.items[rows, best], 0), np.where(is_near, days, 0), largest)


def _neighbour_scores(table: FittedTable, one: Ints, other: Ints) -> Floats:
    """The larger of the two scores that a pair has as neighbours of each other, 0 where neither has the other."""
    keys, scores = _neighbours(table)
    found = []
    for left, right in ((one, other), (other, one)):
        places, is_there = find(keys, pair_keys(left, right))
        found.append(np.where(is_there, scores[places], 0.0) if len(keys) else np.zeros(len(one)))
    return np.maximum(*found)


@mapped(2)
def _neighbours(table: FittedTable) -> tuple[Ints, Floats]:
    matrix: sparse.csr_matrix = table.csr("item_idx", "neighbour_idx", "score")
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return pair_keys(rows, matrix.indices.astype(np.int64)), matrix.data


def _cosines(vectors: npt.NDArray[np.float32], one: Ints, other: Ints) -> Floats:
    """Rounded, so that the best does not hang on the order of additions; 0 for items that the fit does not know."""
    known = (one < len(vectors)) & (other < len(vectors))
    left, right = (vectors[np.where(known, items, 0)].astype(np.float64) for items in (one, other))
    return np.where(known, np.round(np.einsum("pd,pd->p", left, right), 6), 0.0)


def _nothing(size: int) -> Related:
    zeros = np.zeros(size, dtype=np.int64)
    return Related(zeros, zeros, np.zeros(size))
