"""Hand a published table on as CSV, Excel or Parquet."""

from __future__ import annotations

import re
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import ARTIFACTS, Artifact
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.schemas import Table
from recsys_spark.paths import spark_uri
from recsys_spark.storage import Storage
from recsys_spark.workbook_writer import SheetColumn, write_workbook

FORMATS = ("csv", "xlsx", "parquet")


def export_table(storage: Storage, name: str, form: str, out: str | None) -> str:
    """Write the table artifact `name` (such as `rankings_popularity_test`) and return where.

    CSV and Parquet become folders of part files, Excel one file; `out` may not exist yet. Raises ConfigError for a
    name that is no table, ArtifactError for one that no stage has written.
    """
    label = name if name.endswith(".parquet") else f"{name}.parquet"
    target = out or f"{Path(label).stem}.{form}"
    if Path(target).exists():
        raise ConfigError(f"'{target}' exists already; name another place with --out")
    schema = _schema_of(label)
    frame = storage.read_table(label, schema)
    if form == "parquet":
        frame.write.parquet(spark_uri(target))
    elif form == "csv":
        frame.select(*_as_text(frame)).write.option("header", True).csv(spark_uri(target))
    else:
        columns = [SheetColumn(column.name, column.name) for column in schema.columns]
        write_workbook(frame.select(*_as_text(frame)), columns, schema.grain, Path(label).stem[:25], target)
    return target


def _schema_of(label: str) -> Table:
    """The table that a label belongs to; keys in the path may be anything."""
    for artifact in ARTIFACTS.values():
        if artifact.schema is not None and _matches(artifact, label):
            return artifact.schema
    tables = sorted(artifact.path for artifact in ARTIFACTS.values() if artifact.kind == "table")
    raise ConfigError(f"'{label}' is no table; there are {', '.join(tables)}")


def _matches(artifact: Artifact, label: str) -> bool:
    pattern = re.sub(r"\\\{\w+\\\}", r"[\\w=-]+", re.escape(artifact.path))
    return re.fullmatch(pattern, label) is not None


def _as_text(frame: DataFrame) -> list[Column]:
    """Arrays and structs as JSON, times as ISO text, all else as it is: what CSV and Excel can hold."""
    chosen = []
    for name, kind in frame.dtypes:
        column = F.col(name)
        if kind.startswith(("array", "struct")):
            column = F.to_json(column)
        elif kind == "timestamp":
            column = F.date_format(column, "yyyy-MM-dd HH:mm:ss")
        elif kind.startswith("decimal"):
            column = column.cast("double")
        chosen.append(column.alias(name))
    return chosen
