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


def item_sales(events: DataFrame, grid: Grid, cutoff_micros: int, recent_days: int) -> DataFrame:
    """ITEM_SALES: interactions of each item in the `recent_days` up to each snapshot, the snapshot's moment included.

    events: item_idx, invoice_date, none later than the cutoff. The snapshot at the cutoff has the number after that of
    the newest one of the grid.
    """
    newest, window = grid.last_before(cutoff_micros), recent_days * MICROS_PER_DAY
    # A snapshot sees the event where 0 <= snapshot - time < window.
    time = F.unix_micros("invoice_date")
    start = F.ceil((time - grid.first) / grid.step)
    end = F.least(F.ceil((time - grid.first + window) / grid.step) - 1, F.lit(newest))
    nothing = F.array().cast("array<bigint>")
    on_grid = F.when(start <= end, F.sequence(start, end)).otherwise(nothing)
    at_cutoff = F.when(time > cutoff_micros - window, F.array(F.lit(newest + 1).cast("bigint"))).otherwise(nothing)
    seen = events.select("item_idx", F.explode(F.concat(on_grid, at_cutoff).cast("array<int>")).alias("period"))
    return seen.groupBy("period", "item_idx").agg(F.count(F.lit(1)).alias("num_events")).select(*ITEM_SALES.names)
