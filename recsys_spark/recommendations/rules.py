"""What the rules of the business say of items, as arrays by item_idx: NumPy alone, for tasks and servers alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import Ints, find

# In the order in which they apply; an item that is passed over counts for the first that bars it.
RULES = (
    "excluded_codes",
    "withdrawn",
    "out_of_stock",
    "not_yet",
    "no_longer",
    "unlisted",
    "min_price",
    "customer_exclusions",
    "max_per_category",
    "max_per_brand",
)
NUMBER_OF = {rule: number for number, rule in enumerate(RULES, start=1)}  # 0 stands for no rule
BEGINNING_OF_TIME, END_OF_TIME = -(2**62), 2**62  # microseconds
Numbers = npt.NDArray[np.int8]


@dataclass(frozen=True)
class ItemRules:
    """All arrays are by item_idx, (num_items + 1,).

    barred: number of the first rule that bars the item at any time, 0 for none. start, end: microseconds since 1970,
    UTC; the item may be recommended in [start, end). category, brand: numbers of its groups from 1, 0 for none.
    """

    barred: Numbers
    start: Ints
    end: Ints
    category: Ints
    brand: Ints

    @classmethod
    def none(cls, num_items: int) -> ItemRules:
        """No rule for the items 1..num_items."""
        always, size = (BEGINNING_OF_TIME, END_OF_TIME), num_items + 1
        start, end, category, brand = (np.full(size, value, dtype=np.int64) for value in (*always, 0, 0))
        return cls(np.zeros(size, dtype=np.int8), start, end, category, brand)

    def barring(self, items: Ints, micros: Ints) -> Numbers:
        """Number of the first rule that bars each item at each time, 0 for none."""
        by_time = np.where(
            micros < self.start[items],
            NUMBER_OF["not_yet"],
            np.where(micros >= self.end[items], NUMBER_OF["no_longer"], 0),
        ).astype(np.int8)
        return first_of_both(self.barred[items], by_time)


def first_of_both(one: Numbers, other: Numbers) -> Numbers:
    """The lower number of two rules where both bar, else that of the one that does."""
    return np.where((one == 0) | ((other > 0) & (other < one)), other, one).astype(np.int8)


def with_pairs(barred: Numbers, keys: Ints, excluded: Ints) -> Numbers:
    """Bars also the (query, item) pairs that the customer's exclusions name; excluded: of `pair_keys`, ascending."""
    _, is_there = find(excluded, keys)
    return first_of_both(barred, np.where(is_there, NUMBER_OF["customer_exclusions"], 0).astype(np.int8))
