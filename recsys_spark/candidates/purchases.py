"""What each query's customer bought before it, item by item: how often, first and last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.sequences.windows import Ints

_ITEM_BITS = 32  # a pair of query and item as one integer


def pair_keys(rows: Ints, items: Ints) -> Ints:
    """One integer per pair, which orders pairs by row, then item."""
    return (rows << _ITEM_BITS) | items


def rows_of_keys(keys: Ints) -> Ints:
    return keys >> _ITEM_BITS


def items_of_keys(keys: Ints) -> Ints:
    return keys & ((1 << _ITEM_BITS) - 1)


def find(keys: Ints, wanted: Ints) -> tuple[Ints, np.ndarray]:
    """Where each of `wanted` stands in ascending `keys`, and whether it is there; elsewhere the place is 0."""
    if len(keys) == 0:
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    is_there = keys[places] == wanted
    return np.where(is_there, places, 0), is_there


@dataclass(frozen=True)
class Purchases:
    """The (query, item) pairs that were bought before the query, ascending; all arrays are of their number.

    keys: of `pair_keys`. first, last: positions of the earliest and the latest event of the pair. events: positions of
    all of them, pair by pair and in time order, as many as `times` says in sum.
    """

    keys: Ints
    times: Ints
    first: Ints
    last: Ints
    events: Ints

    @classmethod
    def of(cls, batch: QueryBatch) -> Purchases:
        rows, positions = batch.earlier()
        keys = pair_keys(rows, batch.events.items[positions])
        order = np.argsort(keys, kind="stable")  # in time order within a pair
        found, starts, times = np.unique(keys[order], return_index=True, return_counts=True)
        events = positions[order]
        return cls(found, times, events[starts], events[starts + times - 1], events)

    def sums(self, values: Ints) -> Ints:
        """The sum of each pair's values; values: of `events`, in their order."""
        return np.add.reduceat(values, np.cumsum(self.times) - self.times)
