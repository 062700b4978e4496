"""How what a customer buys lies in time: of late, against the item's usual gap, and by category. C candidates."""

from __future__ import annotations

import numpy as np

from recsys_spark.arrays import Floats, Ints, find, items_of_keys, pair_keys, rows_of_keys
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.features.customer_features import MISSING, num_orders
from recsys_spark.features.item_features import ItemFacts

RECENT_DAYS = (28, 90)
RECENT_ORDERS = (5, 20)
_CATEGORY_DAYS = 28


def rhythm_features(
    batch: QueryBatch, candidates: CandidateRows, facts: ItemFacts, since_last: Floats
) -> dict[str, Floats]:
    """The groups `recent`, `cycle` and `category`; (C,) each. since_last: the feature `days_since_last`."""
    of_late = _of_late(batch)
    places, is_there = find(batch.purchases.keys, candidates.keys)
    return {
        **{name: _or_missing(name, counts, places, is_there) for name, counts in of_late.items()},
        **_cycle_features(facts, candidates.items, since_last, is_there),
        **_category_features(batch, candidates, facts, of_late[f"times_{_CATEGORY_DAYS}"]),
    }


def _of_late(batch: QueryBatch) -> dict[str, Ints]:
    """How many of each purchased pair's events lie within the last days and the customer's last orders."""
    purchases = batch.purchases
    rows = np.repeat(rows_of_keys(purchases.keys), purchases.times)
    days = batch.days_before(rows, purchases.events)
    orders = num_orders(batch)[rows] - batch.events.order_number[purchases.events]
    within = {f"times_{limit}": days <= limit for limit in RECENT_DAYS}
    within |= {f"times_{limit}_orders": orders < limit for limit in RECENT_ORDERS}
    return {name: purchases.sums(is_within.astype(np.int64)) for name, is_within in within.items()}


def _cycle_features(facts: ItemFacts, items: Ints, since: Floats, is_repeat: np.ndarray) -> dict[str, Floats]:
    """Days between two purchases of an item by a customer, as the fit knows them, against those `since` the last."""
    log_gap = facts.log_gap[facts.places(items)]
    has_gap = np.isfinite(log_gap)
    return {
        "item_gap": np.where(has_gap, np.expm1(log_gap), MISSING["item_gap"]),
        "item_overdue": np.where(has_gap & is_repeat, np.log1p(since) - log_gap, MISSING["item_overdue"]),
    }


def _category_features(
    batch: QueryBatch, candidates: CandidateRows, facts: ItemFacts, recent_times: Ints
) -> dict[str, Floats]:
    """What the customer bought of the candidate's category; an item without one has the missing values."""
    purchases = batch.purchases
    labels = facts.category[facts.places(items_of_keys(purchases.keys))]
    named = np.flatnonzero(labels > 0)
    keys = pair_keys(rows_of_keys(purchases.keys[named]), labels[named])
    order = np.argsort(keys, kind="stable")
    bought, starts, items = np.unique(keys[order], return_index=True, return_counts=True)
    rows, pairs = rows_of_keys(bought), named[order]
    last = np.maximum.reduceat(purchases.last[pairs], starts)  # positions of a customer's events ascend with time
    known = {
        "days_since_category": batch.days_before(rows, last),
        "orders_since_category": num_orders(batch)[rows] - batch.events.order_number[last],
        "category_times": np.add.reduceat(purchases.times[pairs], starts),
        f"category_times_{_CATEGORY_DAYS}": np.add.reduceat(recent_times[pairs], starts),
        "category_items": items,
    }
    offered = facts.category[facts.places(candidates.items)]
    places, is_there = find(bought, pair_keys(candidates.rows, offered))
    return {name: _or_missing(name, values, places, is_there) for name, values in known.items()}


def _or_missing(name: str, values: np.ndarray, places: Ints, is_there: np.ndarray) -> Floats:
    """Values at the places, (C,); the feature's missing value where a candidate has none."""
    if len(values) == 0:
        return np.full(len(places), MISSING[name])
    return np.where(is_there, values[places], MISSING[name]).astype(np.float64)
