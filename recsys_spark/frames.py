"""Frames in the columns of a table, kept on disk, and windows over a whole frame."""

from __future__ import annotations

from typing import Protocol

from pyspark.sql import DataFrame, SparkSession, Window, WindowSpec
from pyspark.sql import functions as F

from recsys_spark.contracts.errors import SchemaError
from recsys_spark.contracts.schemas import Table

# Up to this number, rows are sent to all executors: a shuffle of every line costs far more.
BROADCAST_ROWS = 1_000_000


class Materialise(Protocol):
    """Keeps a frame on disk and reads it back, so that it is computed once and read as often as needed."""

    def __call__(self, name: str, frame: DataFrame, partition_by: str | None = None) -> DataFrame: ...


def conform(frame: DataFrame, schema: Table, label: str) -> DataFrame:
    """The table's columns in order; raises SchemaError where the frame lacks one or has another type."""
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise SchemaError(f"{label} lacks {missing}; the frame has {sorted(frame.columns)}")
    chosen = frame.select(*schema.names)
    types = dict(chosen.dtypes)
    wrong = [f"{c.name} is {types[c.name]}, not {c.type}" for c in schema.columns if types[c.name] != c.type]
    if wrong:
        raise SchemaError(f"{label}: {'; '.join(wrong)}")
    return chosen


def empty_frame(spark: SparkSession, schema: Table) -> DataFrame:
    """A frame of a table's columns without rows."""
    return spark.createDataFrame([], schema.ddl)


def window_over_all(order: str) -> WindowSpec:
    """All rows of a frame in the order of a whole number, in one task: for frames whose size something bounds.

    Partitioned by what is 0 in every row, as Spark warns the user of every window that has no partition.
    """
    return Window.partitionBy(F.pmod(order, F.lit(1))).orderBy(order)
