"""Frames in the columns of a table."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.errors import SchemaError
from recsys_spark.contracts.schemas import Table


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
