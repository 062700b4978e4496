"""Short ways to build frames of a table and to read them back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.schemas import Table


def frame(spark: SparkSession, table: Table, rows: Iterable[Mapping[str, Any]], **defaults: Any) -> DataFrame:
    """A frame of the table; columns that a row and the defaults leave out are null."""
    filled = [tuple(_value(c.type, {**defaults, **row}.get(c.name)) for c in table.columns) for row in rows]
    return spark.createDataFrame(filled, table.ddl)


def _value(spark_type: str, value: Any) -> Any:
    if value is None:
        return None
    if spark_type.startswith("decimal"):
        return Decimal(str(value))
    if spark_type == "timestamp" and isinstance(value, str):
        return datetime.fromisoformat(value)
    return value


def column(frame: DataFrame, name: str) -> list[Any]:
    """The values of one column, in the frame's order."""
    return [row[name] for row in frame.select(name).collect()]


def rows(frame: DataFrame, *names: str) -> list[tuple[Any, ...]]:
    """Rows as sorted tuples of the named columns (all without a name)."""
    chosen: Sequence[str] = names or frame.columns
    return sorted((tuple(row) for row in frame.select(*chosen).collect()), key=repr)
