"""How often each item was bought up to a cutoff: the eligible items, two models, and what stands behind the others."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints
from recsys_spark.baselines.loading import load_table, numbers
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.contracts.schemas import ITEM_POPULARITY
from recsys_spark.sequences.split import cutoff


def fit_popularity(interactions: DataFrame, item_ids: DataFrame, cutoff_time: str, recent_days: int) -> DataFrame:
    """ITEM_POPULARITY: events of each item up to the cutoff, and of these the ones of the last `recent_days`.

    These days end with the last event up to the cutoff, which for `full` is the end of the data.
    """
    known = interactions.filter(F.col("invoice_date") <= cutoff(cutoff_time))
    counts = (
        with_recency(known, recent_days)
        .groupBy("stock_code")
        .agg(F.count(F.lit(1)).alias("num_events"), F.count_if("is_recent").alias("num_recent_events"))
    )
    return counts.join(item_ids, on="stock_code", how="inner").select(*ITEM_POPULARITY.names)


def with_recency(known: DataFrame, recent_days: int) -> DataFrame:
    """Add is_recent: whether an event is of the `recent_days` that end with the last event."""
    recent_start = F.max("invoice_date") - F.expr(f"interval {recent_days} days")
    dated = known.crossJoin(F.broadcast(known.agg(recent_start.alias("recent_start"))))
    return dated.withColumn("is_recent", F.col("invoice_date") > F.col("recent_start")).drop("recent_start")


@dataclass(frozen=True)
class FittedPopularity:
    """An ITEM_POPULARITY artifact as tasks find it."""

    path: str
    content: str

    def order(self, by_recent: bool) -> Popular:
        """Eligible items by recent events, or all events, then all events, then item_idx; scores are shares."""
        return _order(self, by_recent)

    def behind(self, score: float = 0.0) -> Popular:
        """Eligible items by recent events with one score, below every item of a model's own."""
        return _behind(self, score)

    def counts(self) -> tuple[Ints, Ints, Ints]:
        """item_idx, num_events and num_recent_events of the eligible items."""
        table = load_table(self.path, self.content)
        items, total, recent = (numbers(table, name) for name in ("item_idx", "num_events", "num_recent_events"))
        return items, total, recent


@functools.lru_cache(maxsize=8)
def _order(fitted: FittedPopularity, by_recent: bool) -> Popular:
    items, total, recent = fitted.counts()
    counts = recent if by_recent else total
    order = np.lexsort((items, -total, -counts))
    return Popular(items[order], counts[order] / max(int(counts.sum()), 1))


@functools.lru_cache(maxsize=8)
def _behind(fitted: FittedPopularity, score: float) -> Popular:
    items = fitted.order(by_recent=True).items
    return Popular(items, np.full(len(items), score))


@dataclass(frozen=True)
class Popularity:
    """The same list for everyone: all events up to the cutoff, or those of its last days."""

    fitted: FittedPopularity
    by_recent: bool

    @property
    def name(self) -> str:
        return "recent_popularity" if self.by_recent else "popularity"

    def popular(self) -> Popular:
        return self.fitted.order(self.by_recent)

    def score(self, batch: QueryBatch) -> Scored:  # noqa: ARG002 (popularity looks at no query)
        nothing = np.zeros(0, dtype=np.int64)
        return Scored(nothing, nothing, np.zeros(0))
