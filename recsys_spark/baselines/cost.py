"""What a neighbour computation costs, when it is refused, and the cap on heavy rows that makes it affordable.

All pairs of columns that meet in a row of n entries take n^2 multiply-adds, so a few heavy rows decide the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.contracts.errors import ConfigError

_BINS_PER_OCTAVE = 8
NUM_BINS = 32 * _BINS_PER_OCTAVE  # rows of up to 2^32 entries


@dataclass(frozen=True)
class ProductCost:
    """Rows by length, in bins: bin b holds the rows with floor(8 log2(entries)) = b.

    rows: number of rows per bin; entries: sum of their entries; squares: sum of the squares of their entries.
    """

    rows: Sequence[float]
    entries: Sequence[float]
    squares: Sequence[float]

    @property
    def nonzeros(self) -> int:
        """Entries of the matrix."""
        return int(sum(self.entries))

    @property
    def multiply_adds(self) -> float:
        """Sum over rows of n^2, both orders of a pair and the pairs of a column with itself included."""
        return float(sum(self.squares))

    def fitting_cap(self, max_cost: float) -> int:
        """A cap on the entries of a row that keeps the cost within max_cost, on the low side by up to a ninth.

        >>> cost_of_counts(np.array([100, 2, 2])).fitting_cap(5000)
        69
        """
        fitting = 1
        for b in range(NUM_BINS):
            cap = int(2.0 ** (b / _BINS_PER_OCTAVE))
            if sum(self.squares[:b]) + sum(self.rows[b:]) * cap**2 <= max_cost:
                fitting = cap
        return fitting


def cost_of_counts(entries_per_row: npt.NDArray[np.int64]) -> ProductCost:
    """The cost of a matrix of which the entries of each row are known; rows without any count nothing."""
    counts = entries_per_row[entries_per_row > 0].astype(np.float64)
    bins = np.floor(np.log2(counts) * _BINS_PER_OCTAVE).astype(np.int64)
    sums = [np.bincount(bins, weights=counts**power, minlength=NUM_BINS).tolist() for power in (0, 1, 2)]
    return ProductCost(*sums)


def estimate_cost(triples: DataFrame) -> ProductCost:
    """The cost for a frame (row, col, ...) of any size; at most NUM_BINS rows reach the driver."""
    entries = F.col("count").cast("double")
    row_bin = F.floor(F.log2(entries) * _BINS_PER_OCTAVE)
    sums = (F.sum(F.pow(entries, F.lit(power))) for power in (0, 1, 2))
    binned = triples.groupBy("row").count().groupBy(row_bin.alias("bin")).agg(*sums).collect()
    table = np.zeros((3, NUM_BINS))
    for row_bin_value, *values in binned:
        table[:, row_bin_value] = values
    return ProductCost(*table.tolist())


def require_affordable(cost: ProductCost, max_cost: float, remedy: str = "") -> None:
    """Raise ConfigError where the products cost more than max_cost multiply-adds.

    remedy: what to do about it; without one, to cap the rows where it would fit.
    """
    if cost.multiply_adds > max_cost:
        cap = f"cap the rows to their most recent {cost.fitting_cap(max_cost)} entries (knn.max_items_per_customer)"
        raise ConfigError(
            f"neighbours need {cost.multiply_adds:.3g} multiply-adds, more than knn.max_cost = {max_cost:.3g}; "
            f"{remedy or cap} or raise knn.max_cost"
        )


def cap_rows(
    interactions: DataFrame, max_items: int, *, row: str = "user_idx", col: str = "item_idx", time: str = "event_time"
) -> tuple[DataFrame, float]:
    """Keep each row's `max_items` most recent columns, ties by column, and the share of the pairs that this cuts.

    interactions: one row per (row, col) with the time of its last event. The share takes one Spark job.
    """
    if max_items < 1:
        raise ConfigError(f"knn.max_items_per_customer must be at least 1, got {max_items}")
    newest_first = Window.partitionBy(row).orderBy(F.desc(time), F.asc(col))
    place = "_place"
    kept = interactions.withColumn(place, F.row_number().over(newest_first)).filter(F.col(place) <= max_items)
    excess = F.greatest(F.col("count") - max_items, F.lit(0))
    sums = interactions.groupBy(row).count().agg(F.sum(excess), F.sum("count")).first()
    assert sums is not None  # an aggregate without keys has one row
    cut, total = sums
    return kept.drop(place), cut / total if total else 0.0
