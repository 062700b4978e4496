"""What was known of items: facts up to the cutoff of a fit, and sales counted anew every day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Floats, Ints
from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.contracts.candidate_schemas import ITEM_FACTS
from recsys_spark.sequences.split import cutoff
from recsys_spark.sequences.windows import MICROS_PER_DAY

SALES_DAYS = (7, 28, 90)
_DAY_BITS = 20  # an item and a day as one integer
_NEVER = 1 << _DAY_BITS  # the day on which an item was first sold that the fit does not know
_LOG_UNITS = 1_000_000
_TABLES_KEPT = 2  # of one Python process


def fit_item_facts(interactions: DataFrame, item_ids: DataFrame, cutoff_time: str) -> DataFrame:
    """ITEM_FACTS of the events up to the cutoff."""
    known = interactions.filter(F.col("invoice_date") <= cutoff(cutoff_time))
    found = known.groupBy("stock_code").agg(
        F.expr("percentile(price, 0.5)").alias("price"), _latest("brand"), _latest("category")
    )
    facts = found.join(_counted(known), on="stock_code", how="inner")
    return facts.join(item_ids, on="stock_code", how="inner").select(*ITEM_FACTS.names)


def _counted(known: DataFrame) -> DataFrame:
    """What the purchases of each customer tell of an item: how many of how many, since when, and how far apart.

    log_gap is the mean over customers of log1p of the mean days between two purchases, each as often as there are gaps.
    Lines without a customer are events; they are nobody's, so they tell nothing of customers.
    """
    is_somebody = F.col("customer_id").isNotNull()
    by_customer = known.groupBy("stock_code", "customer_id").agg(
        F.count(F.lit(1)).alias("times"),
        F.min(F.unix_micros("invoice_date")).alias("first"),
        F.max(F.unix_micros("invoice_date")).alias("last"),
    )
    gaps = F.when(is_somebody & (F.col("times") > 1), F.col("times") - 1)
    days = (F.col("last") - F.col("first")) / gaps / F.lit(MICROS_PER_DAY)
    # As integers, whose sum does not depend on the order in which they are added.
    log_gap = F.round(F.log1p(days) * _LOG_UNITS).cast("bigint") * gaps
    return by_customer.groupBy("stock_code").agg(
        F.sum("times").alias("num_events"),
        F.count("customer_id").alias("num_customers"),
        F.floor(F.min("first") / F.lit(MICROS_PER_DAY)).alias("first_day"),
        (F.sum(log_gap) / F.sum(gaps) / _LOG_UNITS).alias("log_gap"),
    )


def _latest(name: str) -> Column:
    """A hash of the value of an item's latest line that has one, of those of one time the largest; 0 without any."""
    latest = F.max(F.when(F.col(name).isNotNull(), F.struct("invoice_date", name)))[name]
    return F.coalesce(F.when(latest.isNotNull(), F.xxhash64(latest)), F.lit(0)).alias(name)


@dataclass(frozen=True)
class ItemFacts:
    """ITEM_FACTS by item_idx, up to the largest that the fit knows; brand and category as numbers from 1, 0 for none.

    price_z: standardised log price over the items that have one; 0 for the others. log_gap: NaN where nobody bought the
    item twice. Look items up by their `places`, as
    lists and histories hold items that the fit does not know; those have no events, and are as new as can be.
    """

    num_events: Floats
    num_customers: Floats
    first_day: Ints
    log_gap: Floats
    log_price: Floats
    price_z: Floats
    brand: Ints
    category: Ints

    def places(self, items: Ints) -> Ints:
        """Where each item stands; 0, as padding, for those that the fit does not know."""
        inside = np.where(items < len(self.num_events), items, 0)
        return np.where(self.num_events[inside] > 0, inside, 0)

    @cached_property
    def popularity(self) -> Floats:
        """log1p of the events over the largest such."""
        return np.log1p(self.num_events) / max(np.log1p(self.num_events.max(initial=0)), 1e-12)


@mapped(_TABLES_KEPT)
def load_item_facts(table: FittedTable) -> ItemFacts:
    """Once per Python process."""
    columns = read_columns(table.path).sort_by("item_idx")  # sums of floats depend on the order of the part files
    items = numbers(columns, "item_idx")

    def by_item(values: np.ndarray, unknown: float = 0) -> np.ndarray:
        out = np.full(int(items.max(initial=0)) + 1, unknown, dtype=values.dtype)
        out[items] = values
        return out

    prices = numbers(columns, "price").astype(np.float64)
    has_price = np.isfinite(prices) & (prices > 0)
    logs = np.log(np.where(has_price, prices, 1.0))
    middle = logs[has_price].mean() if has_price.any() else 0.0
    spread = max(logs[has_price].std(), 1e-6) if has_price.any() else 1.0
    return ItemFacts(
        num_events=by_item(numbers(columns, "num_events").astype(np.float64)),
        num_customers=by_item(numbers(columns, "num_customers").astype(np.float64)),
        first_day=by_item(numbers(columns, "first_day"), unknown=_NEVER),
        log_gap=by_item(numbers(columns, "log_gap").astype(np.float64), unknown=np.nan),
        log_price=by_item(np.where(has_price, logs, middle), unknown=middle),
        price_z=by_item(np.where(has_price, (logs - middle) / spread, 0.0)),
        brand=by_item(_numbered(numbers(columns, "brand"))),
        category=by_item(_numbered(numbers(columns, "category"))),
    )


def _numbered(hashes: Ints) -> Ints:
    """Hashes as small numbers from 1; 0 stays."""
    return np.searchsorted(np.unique(hashes[hashes != 0]), hashes) * (hashes != 0) + (hashes != 0)


@dataclass(frozen=True)
class DailySales:
    """ITEM_DAYS as running sums over ascending (item, day) keys; reached is one longer and begins with 0."""

    keys: Ints
    reached: Floats

    def before(self, items: Ints, days: Ints, windows: Sequence[int]) -> dict[int, Floats]:
        """Events of each item in so many days before each day, by the number of days, (C,) each."""
        ends = np.maximum(days[:, None] - np.array([0, *windows]), 0)
        # All of an item in one go, as they stand near each other: what a search waits for is memory.
        reached = self.reached[np.searchsorted(self.keys, (items << _DAY_BITS)[:, None] | ends)]
        return {window: reached[:, 0] - reached[:, place] for place, window in enumerate(windows, 1)}


@mapped(_TABLES_KEPT)
def load_daily_sales(table: FittedTable) -> DailySales:
    """Once per Python process."""
    columns = read_columns(table.path)
    keys = (numbers(columns, "item_idx") << _DAY_BITS) | numbers(columns, "day")
    order = np.argsort(keys)
    events = numbers(columns, "num_events")[order].astype(np.float64)
    return DailySales(keys[order], np.concatenate([[0.0], np.cumsum(events)]))


def item_features(facts: ItemFacts, sales: DailySales, items: Ints, days: Ints) -> dict[str, Floats]:
    """The groups `item`, and `pop` and `price_z` of the base, of C (item, day of the query) pairs; (C,) each."""
    sold = sales.before(items, days, SALES_DAYS)
    places = facts.places(items)
    events = facts.num_events[places]
    return {
        "pop": facts.popularity[places],
        "price_z": facts.price_z[places],
        **{f"sales_{window}": counts for window, counts in sold.items()},
        "trend": np.log((sold[28] + 1) / 28) - np.log((sold[90] + 1) / 90),
        "repeat_rate": 1.0 - facts.num_customers[places] / np.maximum(events, 1),
        "item_age": np.maximum(days - facts.first_day[places], 0).astype(np.float64),
        "num_customers": facts.num_customers[places],
    }
