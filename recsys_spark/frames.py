"""Table verbs that several folders use."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.errors import DataError


def require_unique(frame: DataFrame, *key: str, name: str) -> DataFrame:
    """The frame, fit for the right side of a join; raises DataError naming a key that stands in several rows.

    Runs a job, so it is for tables that came from outside. What was grouped by the key is unique already.
    """
    repeated = frame.groupBy(*key).agg(F.count(F.lit(1)).alias("rows")).filter("rows > 1").orderBy(*key).first()
    if repeated is not None:
        shown = ", ".join(f"{column} {repeated[column]!r}" for column in key)
        raise DataError(f"{name}: {shown} stands in {repeated['rows']} rows; it must stand in one")
    return frame
