"""Snapshots of recent sales: numbered moments, the last of which is the cutoff of the fit.

A query falls into the period after the last snapshot strictly before it, so what it may know is as old in training as
it is when a model of that cutoff serves the days after it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.retriever_schemas import ITEM_SALES
from recsys_spark.sequences.windows import MICROS_PER_DAY


@dataclass(frozen=True)
class Snapshots:
    """Snapshot k lies at last - (num - k) * step, in microseconds since 1970; k is 0..num."""

    last: int
    step: int
    num: int

    @classmethod
    def before(cls, cutoff_micros: int, first_micros: int, step_days: int) -> Snapshots:
        """As many as reach back to the first event."""
        step = step_days * MICROS_PER_DAY
        return cls(cutoff_micros, step, max(-(-(cutoff_micros - first_micros) // step), 1))

    def period_of(self, time: Column) -> Column:
        """The number of the newest snapshot strictly before a time; times up to the first belong to it."""
        steps_back = F.floor((F.lit(self.last) - F.unix_micros(time)) / self.step) + 1
        return F.least(F.greatest(self.num - steps_back, F.lit(0)), F.lit(self.num)).cast("int")


def item_sales(events: DataFrame, snapshots: Snapshots, recent_days: int) -> DataFrame:
    """ITEM_SALES: interactions of each item in the `recent_days` up to each snapshot, the snapshot's moment included.

    events: item_idx, invoice_date, none later than the last snapshot.
    """
    # A snapshot j steps back sees the event where 0 <= age - j * step < window.
    age = F.lit(snapshots.last) - F.unix_micros("invoice_date")
    nearest = F.greatest(F.floor((age - recent_days * MICROS_PER_DAY) / snapshots.step) + 1, F.lit(0))
    farthest = F.least(F.floor(age / snapshots.step), F.lit(snapshots.num))
    steps_back = F.explode(F.when(nearest <= farthest, F.sequence(nearest, farthest)))
    seen = events.select("item_idx", steps_back.alias("steps_back"))
    period = (F.lit(snapshots.num) - F.col("steps_back")).cast("int").alias("period")
    return seen.groupBy(period, "item_idx").agg(F.count(F.lit(1)).alias("num_events")).select(*ITEM_SALES.names)
