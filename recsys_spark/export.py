"""Hand a published table on as CSV, Excel or Parquet."""

from __future__ import annotations

import uuid
from pathlib import Path, PurePosixPath

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import ARTIFACTS
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.schemas import Table
from recsys_spark.out_file import require_free
from recsys_spark.paths import fetch, filesystem, is_on_disk, python_path, spark_uri
from recsys_spark.session import tasks_run_here
from recsys_spark.spreadsheet_text import CSV_OPTIONS, without_formula
from recsys_spark.storage import Storage
from recsys_spark.workbook_writer import SheetColumn, write_workbook

FORMATS = ("csv", "xlsx", "parquet")


def export_table(storage: Storage, name: str, form: str, out: str | None, verify: str = "size") -> str:
    """Write the table artifact `name` (such as `rankings_popularity_test`) and return where.

    CSV and Parquet become folders of part files, Excel one file; `out` may not exist yet. Text never becomes a formula:
    in Excel by its cell's type, in CSV by a single quote before it. verify: as for `Storage.require`. Raises
    ConfigError for a name that is no table and for a place that is taken, lies among the artifacts or, of a workbook,
    lacks its folder, ArtifactError for a table that no stage has written or that is damaged.
    """
    label, schema = _table_of(name)
    target = out or f"{Path(label).stem}.{form}"
    require_free(target, [storage.location], needs_folder=form == "xlsx")
    frame = storage.read_table(label, schema, verify)
    if is_on_disk(target) and not tasks_run_here(storage.spark):
        _write_by_way_of_root(storage, frame, schema, label, form, target)
    else:
        _write(frame, schema, label, form, target)
    return target


def _write(frame: DataFrame, schema: Table, label: str, form: str, target: str) -> None:
    if form == "parquet":
        frame.write.parquet(spark_uri(target))
    elif form == "csv":
        _without_formulas(frame.select(*_as_text(frame))).write.options(**CSV_OPTIONS).csv(spark_uri(target))
    else:
        columns = [SheetColumn(column.name, column.name) for column in schema.columns]
        write_workbook(frame.select(*_as_text(frame)), columns, schema.grain, Path(label).stem[:25], target)


def _write_by_way_of_root(
    storage: Storage, frame: DataFrame, schema: Table, label: str, form: str, target: str
) -> None:
    """Let tasks write below the root, which all of them reach, and fetch it: a disk of this machine they may lack."""
    stage = f"export_{uuid.uuid4().hex}"  # its own: others may export at the same time
    aside = storage.scratch(stage, f"table.{form}")
    fs, plain = filesystem(aside)
    try:
        fs.makedirs(str(PurePosixPath(plain).parent), exist_ok=True)
        _write(frame, schema, label, form, aside)
        fetch(aside, python_path(target))
    finally:
        storage.sweep(stage)


def _table_of(name: str) -> tuple[str, Table]:
    """The label and schema of the table that a name means, with its suffix or without; keys in it may be anything."""
    for label in (name, f"{name}.parquet"):  # as it stands first: the folders of shards have no suffix
        for artifact in ARTIFACTS.values():
            if artifact.schema is not None and artifact.matches(label):
                return label, artifact.schema
    tables = sorted(artifact.path for artifact in ARTIFACTS.values() if artifact.kind == "table")
    raise ConfigError(f"'{name}' is no table; there are {', '.join(tables)}")


def _without_formulas(frame: DataFrame) -> DataFrame:
    kinds = dict(frame.dtypes)
    plain = (without_formula(F.col(name)) if kinds[name] == "string" else F.col(name) for name in frame.columns)
    return frame.select(*(column.alias(name) for column, name in zip(plain, frame.columns, strict=True)))


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
