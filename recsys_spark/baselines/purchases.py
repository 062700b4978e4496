"""What each query's customer bought before it, item by item: how often, first and last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_spark.arrays import Ints, pair_keys


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
    def of_pairs(cls, rows: Ints, items: Ints, positions: Ints) -> Purchases:
        """Of (query, earlier event) pairs: row of the query, the event's item and position, in time order of a row."""
        keys = pair_keys(rows, items)
        order = np.argsort(keys, kind="stable")  # in time order within a pair
        found, starts, times = np.unique(keys[order], return_index=True, return_counts=True)
        events = positions[order]
        return cls(found, times, events[starts], events[starts + times - 1], events)

    @property
    def pairs(self) -> Ints:
        """The number of each event's pair; as many as `events`."""
        return np.repeat(np.arange(len(self.keys)), self.times)

    def sums(self, values: Ints) -> Ints:
        """The sum of each pair's values; values: of `events`, in their order."""
        return np.add.reduceat(values, np.cumsum(self.times) - self.times)
