"""What was known of a customer before a query, the same for all its candidates; and the calendar."""

from __future__ import annotations

import numpy as np

from recsys_spark.arrays import Floats, Ints, rows_of_keys
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.query_context import recency_bucket, weekday_of
from recsys_spark.contracts.context import RECENCY_NAMES
from recsys_spark.contracts.features import FEATURES
from recsys_spark.sequences.windows import MICROS_PER_DAY

MISSING = {feature.name: feature.missing for feature in FEATURES}
_RECENT_EVENTS = 50
_DAYS_PER_YEAR = 365.2425


def customer_features(batch: QueryBatch, hist_max: int) -> dict[str, Floats]:
    """The groups `customer`, `context`, `calendar`, `recency`, and `hist_len` of the base, of Q queries; (Q,) each."""
    micros, orders = batch.events.micros, num_orders(batch)
    has_history = orders > 0
    first, last = _at(micros, batch.start), _at(micros, batch.end - 1)
    gaps = np.maximum(orders - 1, 1)
    since = (batch.micros - last) / MICROS_PER_DAY
    is_new = batch.events.first_bought == np.arange(len(micros))
    reached = np.concatenate([[0], np.cumsum(is_new)])
    recent_start = np.maximum(batch.start, batch.end - _RECENT_EVENTS)
    num_recent = np.maximum(batch.end - recent_start, 1)
    return {
        "hist_len": np.minimum(batch.num_earlier, hist_max) / hist_max,
        "num_orders": orders.astype(np.float64),
        "num_items": np.bincount(rows_of_keys(batch.purchases.keys), minlength=len(batch)).astype(np.float64),
        "basket_size": batch.num_earlier / np.maximum(orders, 1),
        "days_since_order": np.where(has_history, since, MISSING["days_since_order"]),
        "order_gap": np.where(orders > 1, (last - first) / MICROS_PER_DAY / gaps, MISSING["order_gap"]),
        "share_new": (reached[batch.end] - reached[recent_start]) / num_recent,
        **calendar(days_of(batch)),
        **recency_flags(np.where(has_history, recency_bucket(since), -1)),
    }


def num_orders(batch: QueryBatch) -> Ints:
    """Orders of the customer before each query, (Q,)."""
    return np.where(batch.end > batch.start, _at(batch.events.order_number, batch.end - 1), 0)


def days_of(batch: QueryBatch) -> Ints:
    """The day of each query, days since 1970-01-01 UTC, (Q,)."""
    return batch.micros // MICROS_PER_DAY


def calendar(days: Ints) -> dict[str, Floats]:
    """The day in the year, in the week and in the quarter, and the quarter in the year, as points on circles."""
    year, week = 2 * np.pi * days / _DAYS_PER_YEAR, 2 * np.pi * weekday_of(days) / 7
    quarters = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) // 3  # since 1970
    first_days = _first_day_of_month(quarters * 3)
    within = 2 * np.pi * (days - first_days) / (_first_day_of_month(quarters * 3 + 3) - first_days)
    quarter = 2 * np.pi * (quarters % 4) / 4
    return {
        "month_sin": np.sin(year),
        "month_cos": np.cos(year),
        "weekday_sin": np.sin(week),
        "weekday_cos": np.cos(week),
        "quarter_sin": np.sin(quarter),
        "quarter_cos": np.cos(quarter),
        "quarter_day_sin": np.sin(within),
        "quarter_day_cos": np.cos(within),
    }


def recency_flags(buckets: Ints) -> dict[str, Floats]:
    """A one for the bucket of each query, (Q,) each; buckets: -1 for queries without an order before them."""
    return {name: (buckets == number).astype(np.float64) for number, name in enumerate(RECENCY_NAMES)}


def _first_day_of_month(months: Ints) -> Ints:
    """Days since 1970-01-01; months: since January 1970."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _at(values: np.ndarray, positions: Ints) -> np.ndarray:
    """Values at some positions; whatever is at hand where a position does not exist."""
    if len(values) == 0:
        return np.zeros(len(positions), dtype=values.dtype)
    return values[np.clip(positions, 0, len(values) - 1)]
