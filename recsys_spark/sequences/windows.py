"""NumPy kernels over the events of many customers laid end to end.

Names: E events of a batch of customers, sorted by customer, then time, then stock_code; an order is a run of events
of one customer at one time; a window is a half-open range of event positions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys_spark.arrays import Ints
from recsys_spark.contracts.columns import PAD_IDX

ORDERS_PER_CUSTOMER = 1_000_000  # query_id = user_idx * this + number of the order
MICROS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Events:
    """Events of whole customers. Arrays are of length E, but `offsets` of num_customers + 1.

    quantities, and showrooms and channels (hashes, 0 for none), where a reader asked for them.
    """

    offsets: Ints
    items: Ints
    micros: Ints
    quantities: NDArray[np.float64] | None = None
    showrooms: Ints | None = None
    channels: Ints | None = None

    def of_customers(self, first: int, last: int) -> Events:
        """The events of the customers [first, last) alone; the others keep their places, without events."""
        begin, end = self.offsets[first], self.offsets[last]
        held = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "offsets"}
        cut = {name: values[begin:end] for name, values in held.items() if values is not None}
        return replace(self, offsets=np.clip(self.offsets, begin, end) - begin, **cut)

    @property
    def customer_start(self) -> Ints:
        """Position of the first event of each event's customer, (E,)."""
        return np.repeat(self.offsets[:-1], np.diff(self.offsets))

    @cached_property
    def order_start(self) -> Ints:
        """Position of the first event of each event's order, (E,)."""
        is_start = self._starts_order()
        return np.flatnonzero(is_start)[np.cumsum(is_start) - 1] if len(self.items) else np.zeros(0, np.int64)

    @cached_property
    def order_number(self) -> Ints:
        """Number of each event's order within its customer, from 1, (E,)."""
        running = np.cumsum(self._starts_order())
        return running - running[self.customer_start] + 1 if len(self.items) else np.zeros(0, np.int64)

    @cached_property
    def first_bought(self) -> Ints:
        """Position of the customer's first event of the same item, (E,)."""
        customer = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        by_pair = np.lexsort((self.items, customer))  # stable: earliest first in a pair
        is_first = np.ones(len(by_pair), dtype=bool)
        same = (customer[by_pair][1:] == customer[by_pair][:-1]) & (self.items[by_pair][1:] == self.items[by_pair][:-1])
        is_first[1:] = ~same
        first = np.empty(len(by_pair), dtype=np.int64)
        if len(by_pair):
            first[by_pair] = by_pair[np.flatnonzero(is_first)[np.cumsum(is_first) - 1]]
        return first

    @cached_property
    def num_first(self) -> Ints:
        """How many events before each position are their customer's first of an item, (E + 1,)."""
        is_first = self.first_bought == np.arange(len(self.items))
        return np.concatenate([[0], np.cumsum(is_first)])

    def _starts_order(self) -> NDArray[np.bool_]:
        starts = np.ones(len(self.items), dtype=bool)
        starts[1:] = np.diff(self.micros) != 0
        starts[self.offsets[:-1][np.diff(self.offsets) > 0]] = True
        return starts


def window_positions(start: Ints, end: Ints, length: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Positions of the newest `length` events of each window [start, end), and which of them exist.

    Both (num_windows, length), right-aligned; where the second is False the first is a valid but foreign position.
    """
    positions = end[:, None] - length + np.arange(length)[None, :]
    exists = positions >= start[:, None]
    return np.where(exists, positions, 0), exists


def window_values(
    events: Events, start: Ints, end: Ints, now: Ints, length: int
) -> tuple[Ints, NDArray[np.float32], Ints]:
    """History items and days before `now` (num_windows, length), left-padded with 0, and the lengths (num_windows,)."""
    positions, exists = window_positions(start, end, length)
    if len(events.items) == 0:
        return positions, exists.astype(np.float32), exists.sum(axis=1)
    items = np.where(exists, events.items[positions], PAD_IDX)
    days = np.where(exists, (now[:, None] - events.micros[positions]) / MICROS_PER_DAY, 0.0)
    return items, days.astype(np.float32), exists.sum(axis=1)
