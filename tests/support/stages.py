"""A small table, its artifacts and stages over them, to test what runs and keeps stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.load_config import load_config
from recsys_spark.contracts.schemas import Column, Table
from recsys_spark.stage import Metrics, Stage, StageIO

PEOPLE_TABLE = Table(grain=("id",), columns=(Column("id", "bigint", "who"), Column("name", "string", "called")))
PEOPLE = Artifact("people", kind="table", path="people.parquet", schema=PEOPLE_TABLE)
COPY = Artifact("copy", kind="table", path="copy.parquet", schema=PEOPLE_TABLE)
FACTS = Artifact("facts", kind="json", path="facts.json")
NOTE = Artifact("note", kind="file", path="fit={fit}/note.txt")

ANN_AND_BOB = [(1, "Ann"), (2, "Bob")]


def people(spark: SparkSession, rows: list[tuple[int, str | None]], partitions: int = 1) -> DataFrame:
    return spark.createDataFrame(rows, PEOPLE_TABLE.ddl).repartition(partitions)


def config_for(root: Path, *pairs: str) -> PipelineConfig:
    return load_config(pairs=[f"paths.processed={root}", *pairs])


def stage_of(run: Callable[[StageIO, PipelineConfig], Metrics], **given: Any) -> Stage:
    """A stage that writes PEOPLE and uses the section `sequences`, unless told otherwise."""
    values: dict[str, Any] = {"reads": (), "writes": (PEOPLE,), "sections": ("sequences",), **given}
    return Stage(values.pop("name", "people"), run=run, **values)
