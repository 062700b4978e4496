"""What answering knows of items: the rules for them, their sales, and which baskets held them; arrays on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap

from recsys_spark.arrays import Ints, find, places_by_group
from recsys_spark.baselines.loading import numbers
from recsys_spark.baselines.mapped_arrays import map_array
from recsys_spark.recommendations.rules import ItemRules
from recsys_spark.serving.bundle import CustomerArrays

SALES = ("num_events", "num_customers", "num_recent_events", "num_recent_customers", "category_rank")
_EVENTS_AT_A_TIME = 2_000_000  # 100 MiB


@dataclass(frozen=True)
class ItemArrays:
    """By item_idx, (num_items + 1,): the columns of `Sales.of_items`, 0 for none. Baskets, by number in the order of
    customer and time: those that held item i are baskets[basket_offsets[i] : basket_offsets[i + 1]], ascending;
    basket_users: whose each is.
    """

    num_events: Ints
    num_customers: Ints
    num_recent_events: Ints
    num_recent_customers: Ints
    category_rank: Ints
    basket_offsets: Ints
    baskets: Ints
    basket_users: Ints

    @classmethod
    def mapped(cls, folder: Path) -> ItemArrays:
        return cls(**{name: map_array(folder / f"{name}.npy") for name in cls.__dataclass_fields__})

    def sales(self, item: int) -> dict[str, Any]:
        """What is known of an item's sales by the names of `Sales.of_items`; None for no rank."""
        found: dict[str, Any] = {name: int(getattr(self, name)[item]) for name in SALES}
        return found | {"category_rank": found["category_rank"] or None}

    def bought_both(self, one: int, other: int) -> tuple[int, int]:
        """How many customers bought both items, and how many baskets held both; as `together.co_purchases`."""
        held = [self.baskets[self.basket_offsets[item] : self.basket_offsets[item + 1]] for item in (one, other)]
        few, many = sorted(held, key=len)
        customers = _distinct(self.basket_users[few])
        return int(find(self.basket_users[many], customers)[1].sum()), int(find(many, few)[1].sum())


def write_sales(sales: pa.Table, num_items: int, folder: Path) -> None:
    """sales: of `Sales.of_items`."""
    index = numbers(sales, "item_idx")
    for name in SALES:
        values = np.zeros(num_items + 1, dtype=np.int64)
        values[index] = sales.column(name).fill_null(0).to_numpy()
        np.save(folder / f"{name}.npy", values)


def write_rules(rules: ItemRules, folder: Path) -> None:
    folder.mkdir()
    for name, values in vars(rules).items():
        np.save(folder / f"{name}.npy", values)


def mapped_rules(folder: Path) -> ItemRules:
    """What `write_rules` wrote."""
    return ItemRules(**{name: map_array(folder / f"{name}.npy") for name in ItemRules.__dataclass_fields__})


def write_baskets(arrays: CustomerArrays, num_items: int, folder: Path, at_a_time: int = _EVENTS_AT_A_TIME) -> None:
    """The baskets of `ItemArrays`, some events at a time. A basket is what a customer bought at one time."""
    sizes, num_baskets = np.zeros(num_items + 1, dtype=np.int64), 0
    for part in _parts(arrays, at_a_time):
        sizes += np.bincount(part.items, minlength=num_items + 1)
        num_baskets = int(part.baskets[-1]) + 1
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    np.save(folder / "basket_offsets.npy", offsets)
    if not num_baskets:
        for name in ("baskets", "basket_users"):
            np.save(folder / f"{name}.npy", np.zeros(0, dtype=np.int64))
        return
    baskets = open_memmap(folder / "baskets.npy", mode="w+", dtype=np.int64, shape=(int(offsets[-1]),))
    users = open_memmap(folder / "basket_users.npy", mode="w+", dtype=np.int64, shape=(num_baskets,))
    free = offsets[:-1].copy()  # the next place of each item
    for part in _parts(arrays, at_a_time):
        order = np.argsort(part.items, kind="stable")
        items = part.items[order]
        within = places_by_group(items)
        baskets[free[items] + within] = part.baskets[order]
        free += np.bincount(items, minlength=num_items + 1)
        users[part.baskets] = part.users
    baskets.flush()
    users.flush()


@dataclass(frozen=True)
class _Part:
    """Some events: the item, the customer and the number of the basket of each."""

    items: Ints
    users: Ints
    baskets: Ints


def _parts(arrays: CustomerArrays, at_a_time: int) -> Iterator[_Part]:
    number, last = -1, (0, 0)  # the basket before, and its customer and time
    for first in range(0, len(arrays.items), at_a_time):
        micros = arrays.micros[first : first + at_a_time]
        positions = np.arange(first, first + len(micros))
        users = np.searchsorted(arrays.event_offsets, positions, side="right") - 1
        begins = np.ones(len(micros), dtype=bool)
        begins[1:] = (np.diff(users) != 0) | (np.diff(micros) != 0)
        begins[0] = (int(users[0]), int(micros[0])) != last
        baskets = number + np.cumsum(begins)
        yield _Part(arrays.items[first : first + at_a_time], users, baskets)
        number, last = int(baskets[-1]), (int(users[-1]), int(micros[-1]))


def _distinct(ascending: Ints) -> Ints:
    return ascending[np.concatenate([[True], np.diff(ascending) > 0])] if len(ascending) else ascending
