"""What customers of the same segment buy lately: for customers of whom too little is known for anything better.

A segment is a showroom, a sales channel, or the customers who buy from a category; `segment_fit.py` counts them.
Names: Q queries, S segments.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import sparse

from recsys_spark.arrays import Floats, Ints, order_best_first, places_by_group, places_by_size
from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.matrices import FittedTable, csr_of
from recsys_spark.baselines.personal import sum_pairs
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import as_rows, best_of_rows, num_wanted, row_parts, together
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.query_context import usual_place
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.contracts.model_config import CATEGORY, SEGMENT_KINDS

_PER_THOUSAND = 1000.0  # six decimals of a share would tie what differs
_WIDE, _NARROW = "sales_channel", "showroom"


@dataclass(frozen=True)
class SegmentPopularity:
    """score(item) = its share of a thousand purchases, as far as the customer's segments are known before the query.

    The share in a segment of n recent purchases is trusted by n / (n + smoothing); the rest is the share in the next
    wider one: from showroom to sales channel to all customers, and from the categories, mixed as the customer's
    purchases are, to all customers. The score is the mean of both, or the one that is known. Segments that are too
    small were left out when they were counted, which is a step to the wider one too; a query without any is not scored.

    source_ranks tells which kinds of segment spoke, each with the item's rank in the list.
    """

    fitted: FittedPopularity
    segments: FittedTable
    categories: FittedTable
    smoothing: float
    name: str = "segment_popularity"

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        segments = load_segments(self.segments)
        weights, others = self._weights(batch, segments)
        popular, wanted, found = self.fitted.order(by_recent=True), num_wanted(batch), []
        for part in row_parts(weights, segments.shares):
            listed = _with_popular(weights[part] @ segments.shares, others[part], wanted[part], popular)
            found.append(best_of_rows(listed, wanted[part], part.start))
        return _told(together(found), segments.kinds_that_spoke(weights))

    def _weights(self, batch: QueryBatch, segments: Segments) -> tuple[sparse.csr_matrix, Floats]:
        """What each query's segments weigh, (Q, S), and what all customers do, (Q,): together one, or nothing."""
        size = len(segments.totals)
        mix = _rows_of_mix(batch, item_segments(self.segments, self.categories), size)
        in_mix = self._trust(mix @ segments.totals)
        wide, narrow = (segments.find(kind, usual_place(batch, kind)) for kind in (_WIDE, _NARROW))
        in_wide, in_narrow = (self._trust(np.append(segments.totals, 0.0)[rows]) for rows in (wide, narrow))
        has_place, has_mix = (wide >= 0) | (narrow >= 0), in_mix > 0
        num_known = np.maximum(has_place.astype(np.float64) + has_mix, 1)
        by_place, by_mix = has_place / num_known, has_mix / num_known
        weights = (
            sparse.diags(by_mix * in_mix, format="csr") @ mix
            + _at(wide, by_place * (1 - in_narrow) * in_wide, size)
            + _at(narrow, by_place * in_narrow, size)
        ).tocsr()
        weights.sort_indices()
        return weights, by_place * (1 - in_narrow) * (1 - in_wide) + by_mix * (1 - in_mix)

    def _trust(self, purchases: Floats) -> Floats:
        return purchases / np.maximum(purchases + self.smoothing, 1e-12)


def _at(columns: Ints, values: Floats, size: int) -> sparse.csr_matrix:
    """One value in each row, (Q, size); none where the column is -1."""
    rows = np.flatnonzero(columns >= 0)
    return sparse.csr_matrix((values[rows], (rows, columns[rows])), shape=(len(columns), size))


def _rows_of_mix(batch: QueryBatch, segment_of: Ints, size: int) -> sparse.csr_matrix:
    """The share of each category among the purchases before each query whose category is a segment, (Q, size)."""
    rows, positions = batch.earlier()
    items = batch.events.items[positions]
    items = np.where(items < len(segment_of), items, 0)  # what the fit has not seen has no category; nor has padding
    held = segment_of[items] >= 0
    counts = sparse.csr_matrix(
        (np.ones(int(held.sum())), (rows[held], segment_of[items[held]])), shape=(len(batch), size)
    )
    sums = np.asarray(counts.sum(axis=1)).ravel()
    return sparse.diags(1 / np.maximum(sums, 1), format="csr") @ counts


def _with_popular(shares: sparse.csr_matrix, others: Floats, wanted: Ints, popular: Popular) -> sparse.csr_matrix:
    """Shares of a thousand: by segments, and `others` times recent popularity, of as many items as are wanted."""
    known = others + np.asarray(shares.sum(axis=1)).ravel() > 0
    sizes = np.where(known, np.minimum(wanted, len(popular.items)), 0)
    places = places_by_size(sizes)
    by_segment = shares.tocoo()
    found = sum_pairs(
        np.concatenate([by_segment.row.astype(np.int64), np.repeat(np.arange(len(others)), sizes)]),
        np.concatenate([by_segment.col.astype(np.int64), popular.items[places]]),
        np.concatenate([by_segment.data, np.zeros(len(places))]),
    )
    recent = np.zeros(max(int(popular.items.max(initial=0)), int(found.items.max(initial=0))) + 1)
    recent[popular.items] = popular.scores
    scores = _PER_THOUSAND * (found.scores + others[found.rows] * recent[found.items])
    return as_rows(replace(found, scores=scores), len(others))


def _told(scored: Scored, spoke: np.ndarray) -> Scored:
    """With each item's place in the list as its rank under the kinds that spoke, (Q, kinds)."""
    order = order_best_first(scored.rows, scored.items, scored.scores)
    ranks = np.empty(len(order), dtype=np.int32)
    rows = scored.rows[order]
    ranks[order] = places_by_group(rows) + 1
    named = enumerate(SEGMENT_KINDS)
    return replace(scored, source_ranks={kind: ranks * spoke[scored.rows, number] for number, kind in named})


@dataclass(frozen=True)
class Segments:
    """SEGMENT_POPULARITY as rows. shares: (S, items), of each segment's recent purchases; totals: of these, (S,).

    names: of each kind, ascending, as the table spells them; first: the row of its first.
    """

    shares: sparse.csr_matrix
    totals: Floats
    names: dict[str, np.ndarray]
    first: dict[str, int]

    def find(self, kind: str, places: Ints) -> Ints:
        """The rows of places by their hashes, -1 for those that are no segment."""
        return self.find_named(kind, places.astype(str))

    def kinds_that_spoke(self, weights: sparse.csr_matrix) -> np.ndarray:
        """Whether a segment of each kind weighs anything, (Q, kinds)."""
        bounds = [*(self.first[kind] for kind in SEGMENT_KINDS), len(self.totals)]
        sums = [np.asarray(weights[:, first:last].sum(axis=1)).ravel() for first, last in pairwise(bounds)]
        return np.stack(sums, axis=1) > 0

    def find_named(self, kind: str, wanted: np.ndarray) -> Ints:
        """The rows of segments by their names, -1 for what is none."""
        names = self.names[kind]
        if len(names) == 0:
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
        return np.where(names[at] == wanted, at + self.first[kind], -1)


@functools.lru_cache(maxsize=2)
def load_segments(table: FittedTable) -> Segments:
    """Once per Python process."""
    columns = read_columns(table.path)
    kinds, labels = (columns.column(name).to_numpy(zero_copy_only=False).astype(str) for name in ("kind", "segment"))
    totals, rows, names, first = np.zeros(0), np.zeros(len(kinds), dtype=np.int64), {}, {}
    for kind in SEGMENT_KINDS:
        own = np.flatnonzero(kinds == kind)
        names[kind], at, place = np.unique(labels[own], return_index=True, return_inverse=True)
        first[kind] = len(totals)
        rows[own] = place + len(totals)
        totals = np.concatenate([totals, numbers(columns, "total")[own[at]]])
    if len(totals) == 0:  # no matrix is without rows
        totals = np.zeros(1)
    items, events = numbers(columns, "item_idx"), numbers(columns, "num_events")
    shares = csr_of(rows, items, events / totals[rows])
    shares.resize((len(totals), shares.shape[1]))
    return Segments(shares, totals, names, first)


@functools.lru_cache(maxsize=2)
def item_segments(table: FittedTable, categories: FittedTable) -> Ints:
    """The row of each item's category by item_idx, -1 for none; once per Python process."""
    columns = read_columns(categories.path, "item_idx", "category")
    items, names = numbers(columns, "item_idx"), columns.column("category").to_numpy(zero_copy_only=False)
    found = np.full(int(items.max(initial=0)) + 1, -1)
    found[items] = load_segments(table).find_named(CATEGORY, names.astype(str))
    return found
