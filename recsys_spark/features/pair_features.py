"""What was known of a customer and an item together before a query. Names: C candidates, S sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import Floats, Ints, find, items_of_keys, pair_keys, rows_of_keys
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.features.customer_features import MISSING, num_orders
from recsys_spark.features.item_features import ItemFacts
from recsys_spark.sequences.windows import MICROS_PER_DAY

Numbers = npt.NDArray[np.floating[Any]]


def repeat_features(batch: QueryBatch, candidates: CandidateRows) -> dict[str, Floats]:
    """The group `repeat`: how often and how lately the customer bought the item; (C,) each."""
    purchases = batch.purchases
    places, is_there = find(purchases.keys, candidates.keys)
    events = batch.events
    if len(purchases.keys) == 0:
        return {name: np.full(len(candidates.rows), MISSING[name]) for name in _REPEAT_NAMES}
    times = np.where(is_there, purchases.times[places], 0)
    first, last = purchases.first[places], purchases.last[places]
    orders, numbers = num_orders(batch)[candidates.rows], events.order_number
    since_last = (batch.micros[candidates.rows] - events.micros[last]) / MICROS_PER_DAY
    since_first = (batch.micros[candidates.rows] - events.micros[first]) / MICROS_PER_DAY
    again = times > 1
    gap = (since_first - since_last) / np.maximum(times - 1, 1)
    quantities = np.zeros(len(events.items)) if events.quantities is None else events.quantities
    known = {
        "rate_per_order": times / np.maximum(orders, 1),
        "rate_since_first": times / np.maximum(orders - numbers[first] + 1, 1),
        "days_since_last": since_last,
        "days_since_first": since_first,
        "orders_since_last": (orders - numbers[last]).astype(np.float64),
        "quantity_last": np.nan_to_num(quantities[last], nan=MISSING["quantity_last"]),  # where a line tells none
    }
    return {
        "times_bought": times.astype(np.float64),
        **{name: np.where(is_there, values, MISSING[name]) for name, values in known.items()},
        "mean_gap": np.where(again, gap, MISSING["mean_gap"]),
        # A day more on both sides: an item bought on two days running is not overdue by hundreds of gaps.
        "overdue": np.where(again, (since_last + 1) / (gap + 1), MISSING["overdue"]),
    }


_REPEAT_NAMES = (
    "times_bought",
    "rate_per_order",
    "rate_since_first",
    "days_since_last",
    "days_since_first",
    "orders_since_last",
    "quantity_last",
    "mean_gap",
    "overdue",
)


def affinity_features(batch: QueryBatch, candidates: CandidateRows, facts: ItemFacts) -> dict[str, Floats]:
    """The groups `affinity` and `price`: the item's brand, category and price against what was bought; (C,) each."""
    purchases = batch.purchases
    rows, items = rows_of_keys(purchases.keys), facts.places(items_of_keys(purchases.keys))
    known = items > 0  # items that the fit has not seen have neither brand nor price
    rows, items, times = rows[known], items[known], purchases.times[known]
    offered = facts.places(candidates.items)
    total = np.bincount(rows, weights=times, minlength=len(batch))
    paid = np.bincount(rows, weights=times * facts.log_price[items], minlength=len(batch)) / np.maximum(total, 1)
    gap = facts.log_price[offered] - paid[candidates.rows]
    return {
        "brand_share": _share(rows, facts.brand[items], times, total, candidates.rows, facts.brand[offered]),
        "category_share": _share(rows, facts.category[items], times, total, candidates.rows, facts.category[offered]),
        "price_gap": np.where((total[candidates.rows] > 0) & (offered > 0), gap, MISSING["price_gap"]),
    }


def _share(rows: Ints, labels: Ints, times: Ints, total: np.ndarray, offered_to: Ints, wanted: Ints) -> Floats:
    """Share of what each query's customer bought that has the label of the candidate; 0 for candidates without.

    rows, labels, times: what was bought by which query's customer; offered_to, wanted: of each candidate, (C,).
    """
    found, inverse = np.unique(pair_keys(rows, labels), return_inverse=True)
    counts = np.bincount(inverse, weights=times, minlength=len(found))
    places, is_there = find(found, pair_keys(offered_to, wanted))
    shares = np.zeros(len(wanted))
    held = is_there & (wanted > 0)
    shares[held] = counts[places[held]] / total[offered_to[held]]
    return shares


def source_features(candidates: CandidateRows, sources: Sequence[str]) -> dict[str, Numbers]:
    """The group `sources`: each one's rank and score, (C,) each. sources: those that were asked, in order."""
    found: dict[str, Numbers] = {"num_sources": np.count_nonzero(candidates.ranks, axis=1).astype(np.float64)}
    for name in SOURCES:
        rank, score = f"rank_{name}", f"score_{name}"
        if name in sources:
            number = sources.index(name)
            ranks = candidates.ranks[:, number]
            found |= {rank: np.where(ranks > 0, ranks, MISSING[rank]), score: candidates.scores[:, number]}
        else:
            found |= {one: np.full(len(candidates.rows), MISSING[one]) for one in (rank, score)}
    return found
