"""What every mean is made of: sums per customer, in cells that the bootstrap resamples together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation.diversity import DIVERSITY_SUMS
from recsys_spark.evaluation.exact import exact_sum
from recsys_spark.evaluation.list_metrics import LIST_SUMS
from recsys_spark.evaluation.ranking_metrics import (
    BASKET_METRICS,
    METRICS,
    POSITIVE_METRICS,
    basket_value,
    positive_value,
)
from recsys_spark.evaluation.segments import SEGMENT_METRICS, SEGMENT_TOTALS, SEPARATOR

TOTALS = ("num_positives", "total_amount", "num_queries")

# A cell is a part, then its keys. What each part sums up, in the order of its values:
VALUES = {
    "hits": tuple(metric.column for metric in METRICS),
    "totals": TOTALS,
    "segment_hits": tuple(metric.column for metric in SEGMENT_METRICS),
    "segment_totals": SEGMENT_TOTALS,
    "lists": LIST_SUMS,
    "diversity": DIVERSITY_SUMS,
}
KEYS = {
    "hits": ("model", "protocol"),
    "totals": ("protocol",),
    "segment_hits": ("model", "protocol", "segment"),
    "segment_totals": ("protocol", "segment"),
    "lists": ("model", "protocol"),
    "diversity": ("model", "protocol"),
}


def as_cells(part: str, frame: DataFrame) -> DataFrame:
    """Rows of one part in the shape that the bootstrap takes (bootstrap.CELLS_DDL)."""
    values = F.array(*(F.col(name).cast("double") for name in VALUES[part]))
    cell = F.concat_ws(SEPARATOR, F.lit(part), *KEYS[part])
    return frame.select("user_idx", cell.alias("cell"), values.alias("values"))


class Sums:
    """Sums over all customers, as they are and in every replicate, by cell.

    cells: (1 + replicates, values) by cell name; row 0 is the sum itself.
    """

    def __init__(self, cells: Mapping[str, np.ndarray], replicates: int) -> None:
        self._cells = cells
        self._nothing = np.zeros(1 + replicates)

    def get(self, part: str, *keys: str, name: str) -> np.ndarray:
        """One sum, (1 + replicates,); zeros where no customer has any."""
        cell = self._cells.get(SEPARATOR.join((part, *keys)))
        return self._nothing if cell is None else cell[:, VALUES[part].index(name)]

    def segments(self, protocol: str) -> list[str]:
        """Names of the segments that have positives under a protocol, sorted."""
        prefix = SEPARATOR.join(("segment_totals", protocol, ""))
        return sorted(cell.removeprefix(prefix) for cell in self._cells if cell.startswith(prefix))


def customer_hits(found: DataFrame) -> DataFrame:
    """Sums of every metric, one row per model, protocol and customer with a hit; columns as in METRICS."""
    by_query = found.groupBy("model", "protocol", "user_idx", "query_id").agg(
        F.max("num_relevant").alias("num_relevant"),
        *(_sum(positive_value(m, F.col("rank"), F.col("line_amount")), m.column) for m in POSITIVE_METRICS),
    )
    with_baskets = by_query.withColumns(
        {m.column: basket_value(m, F.col("num_relevant"), F.col("protocol")) for m in BASKET_METRICS}
    )
    return with_baskets.groupBy("model", "protocol", "user_idx").agg(
        *(_sum(F.col(metric.column), metric.column) for metric in METRICS)
    )


def customer_totals(facts: DataFrame) -> DataFrame:
    """What could be hit, one row per protocol and customer; columns as in TOTALS."""
    by_query = facts.groupBy("protocol", "user_idx", "query_id").agg(
        F.count(F.lit(1)).alias("num_positives"), _sum(F.col("line_amount"), "total_amount")
    )
    return by_query.groupBy("protocol", "user_idx").agg(
        F.sum("num_positives").alias("num_positives"),
        _sum(F.col("total_amount"), "total_amount"),
        F.count(F.lit(1)).alias("num_queries"),
    )


def _sum(value: Column, name: str) -> Column:
    return exact_sum(value).alias(name)
