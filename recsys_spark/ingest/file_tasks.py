"""One executor task for each of a few items, such as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.ingest.packages import BadPackageError, UnpackLimits, check_gzip
from recsys_spark.paths import filesystem

_PROBLEM = "path string, problem string"
_PROBLEM_SCHEMA = pa.schema([("path", pa.string()), ("problem", pa.string())])


def one_task_each(
    spark: SparkSession, items: Sequence[Any], work: Callable[..., Iterator[pa.RecordBatch]], ddl: str
) -> DataFrame:
    """`work(item)` for each item, each in a task of its own."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for index in batch.column(0).to_pylist():
                yield from work(items[index])

    return spark.range(0, len(items), 1, numPartitions=len(items)).mapInArrow(run, ddl)


def packed_problems(spark: SparkSession, paths: Sequence[str], limits: UnpackLimits) -> dict[str, str]:
    """What is wrong with each .gz that cannot be unpacked."""
    if not paths:
        return {}
    found = one_task_each(spark, paths, partial(_check_packed, limits=limits), _PROBLEM).collect()
    return {row["path"]: row["problem"] for row in found}


def undecodable(spark: SparkSession, paths: Sequence[str], encoding: str) -> list[str]:
    """The files that are no text of an encoding, each read whole by its task."""
    if not paths:
        return []
    found = one_task_each(spark, paths, partial(_check_decodes, encoding=encoding), _PROBLEM).collect()
    return [row["path"] for row in found]


def _check_packed(path: str, limits: UnpackLimits) -> Iterator[pa.RecordBatch]:
    fs, plain = filesystem(path)
    try:
        with fs.open(plain, "rb") as file:
            check_gzip(file, limits)
    except BadPackageError as error:
        yield _problem(path, str(error))


def _check_decodes(path: str, encoding: str) -> Iterator[pa.RecordBatch]:
    fs, plain = filesystem(path)
    try:
        with fs.open(plain, "rt", encoding=encoding, errors="strict", compression="infer") as file:
            while text := file.read(1 << 20):
                if "\0" in text:
                    yield _problem(path, "NUL")
                    return
    except UnicodeError:
        yield _problem(path, encoding)


def _problem(path: str, problem: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"path": path, "problem": problem}], _PROBLEM_SCHEMA)
