"""Snapshots of recent sales: moments on a grid, and last of all the cutoff of the fit.

A training query knows the newest snapshot of the grid strictly before it, which is half a step old on average; about as
old is the snapshot at the cutoff in the days that a model serves.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.retriever_schemas import ITEM_SALES
from recsys_spark.sequences.windows import MICROS_PER_DAY


@dataclass(frozen=True)
class Grid:
    """Snapshot k lies k steps after the first event, in microseconds since 1970; the same for every fit."""

    first: int
    step: int

    def period_of(self, time: Column) -> Column:
        """The number of the newest snapshot strictly before a time; 0 for the first event's."""
        steps = F.ceil((F.unix_micros(time) - self.first) / self.step).cast("int")
        return F.greatest(steps - 1, F.lit(0))

    def last_before(self, cutoff_micros: int) -> int:
        """The number of the newest snapshot up to a cutoff."""
        return (cutoff_micros - self.first) // self.step


def sales_on_grid(events: DataFrame, grid: Grid, recent_days: int) -> DataFrame:
    """ITEM_SALES of the snapshots on the grid: interactions of each item in the `recent_days` up to the snapshot, whose
    own moment is included, and in as many days before these.

    events: item_idx, invoice_date. No later event changes a snapshot, so all fits share them.
    """
    window, time = recent_days * MICROS_PER_DAY, F.unix_micros("invoice_date")

    def snapshots(low: int, high: int, is_recent: bool) -> Column:
        """Those that see an event where low <= snapshot - time < high."""
        start = F.ceil((time - grid.first + low) / grid.step)
        end = F.ceil((time - grid.first + high) / grid.step) - 1
        numbers = F.when(start <= end, F.sequence(start, end)).otherwise(F.array().cast("array<bigint>"))
        return F.transform(
            numbers, lambda period: F.struct(period.cast("int").alias("period"), F.lit(is_recent).alias("is_recent"))
        )

    every = F.concat(snapshots(0, window, True), snapshots(window, 2 * window, False))
    return _counts(events.select("item_idx", F.inline(every)))


def item_sales(on_grid: DataFrame, events: DataFrame, grid: Grid, cutoff_micros: int, recent_days: int) -> DataFrame:
    """ITEM_SALES of a fit: the snapshots of the grid up to its cutoff, and with the next number that at the cutoff.

    on_grid: of `sales_on_grid`, perhaps of later events too. events: item_idx, invoice_date, up to the cutoff.
    """
    newest, window = grid.last_before(cutoff_micros), recent_days * MICROS_PER_DAY
    age = F.lit(cutoff_micros) - F.unix_micros("invoice_date")
    late = events.filter(age < 2 * window).select(
        "item_idx", F.lit(newest + 1).cast("int").alias("period"), (age < window).alias("is_recent")
    )
    return on_grid.filter(F.col("period") <= newest).unionByName(_counts(late))


def _counts(seen: DataFrame) -> DataFrame:
    """seen: item_idx, period and is_recent of each interaction that a snapshot counts."""
    counts = seen.groupBy("period", "item_idx").agg(
        F.count_if("is_recent").alias("num_events"), F.count_if(~F.col("is_recent")).alias("num_before")
    )
    return counts.select(*ITEM_SALES.names)
