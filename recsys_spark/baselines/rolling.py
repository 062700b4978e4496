"""Popularity that a shop counts anew each day: what was bought in the days before the day of the query."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints, places_by_size
from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import num_wanted, together
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.contracts.model_schemas import ITEM_DAYS
from recsys_spark.sequences.windows import MICROS_PER_DAY


def item_days(interactions: DataFrame, item_ids: DataFrame) -> DataFrame:
    """ITEM_DAYS: how often each item was bought on each day (UTC); lines without a time are of no day."""
    day = F.floor(F.unix_micros("invoice_date") / F.lit(MICROS_PER_DAY)).alias("day")
    dated = interactions.filter("invoice_date is not null")
    counts = dated.groupBy("stock_code", day).agg(F.count(F.lit(1)).alias("num_events"))
    return counts.join(item_ids, on="stock_code", how="inner").select(*ITEM_DAYS.names)


@dataclass(frozen=True)
class RollingPopularity:
    """score(item) = its events in the `days` days that end before the day of the query; weights are not fitted.

    It knows events after the cutoff, as a shop does that counts its sales every night.
    """

    fitted: FittedPopularity
    counts: FittedTable
    days: int
    name: str = "rolling_popularity"

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        wanted, today = num_wanted(batch), batch.micros // MICROS_PER_DAY
        parts = []
        for day in np.unique(today):
            queries = np.flatnonzero(today == day)
            items, sums = _best_first(self, int(day))
            sizes = np.minimum(wanted[queries], len(items))
            places = places_by_size(sizes)
            parts.append(Scored(np.repeat(queries, sizes), items[places], sums[places]))
        return together(parts)


@functools.lru_cache(maxsize=2)  # who asks one query after another asks for the same day
def _best_first(model: RollingPopularity, today: int) -> tuple[Ints, np.ndarray]:
    eligible = model.popular().eligible
    days, items, events = _by_day(model.counts)
    window = slice(*np.searchsorted(days, [today - model.days, today]))
    sums = np.bincount(items[window], weights=events[window], minlength=len(eligible))[: len(eligible)] * eligible
    order = np.lexsort((np.arange(len(sums)), -sums))
    best = order[sums[order] > 0]
    return best, sums[best]


@mapped(2)
def _by_day(counts: FittedTable) -> tuple[Ints, Ints, Ints]:
    table = read_columns(counts.path)
    days, items, events = (numbers(table, name) for name in ("day", "item_idx", "num_events"))
    order = np.argsort(days, kind="stable")
    return days[order], items[order], events[order]
