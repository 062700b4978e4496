"""One executor task for each of a few items, such as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.ingest.packages import BadPackageError, UnpackLimits, check_gzip
from recsys_spark.paths import filesystem

LONGEST_CELL = 1 << 24  # characters: so much would a task hold before it finds that a quote is not closed
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
    return _problems(spark, paths, partial(_check_packed, limits=limits))


def undecodable(spark: SparkSession, paths: Sequence[str], encoding: str) -> list[str]:
    """The files that are no text of an encoding, each read whole by its task."""
    return list(_problems(spark, paths, partial(_check_decodes, encoding=encoding)))


def open_quotes(spark: SparkSession, paths: Sequence[str], encoding: str, separator: str) -> dict[str, str]:
    """What is wrong with each file in which a quote takes the lines below it into its cell, each read by its task."""
    return _problems(spark, paths, partial(_check_quotes, encoding=python_encoding(encoding), separator=separator))


def python_encoding(encoding: str) -> str:
    """An encoding of the config as Python names it, the one without the byte order mark in its text."""
    return "utf-8-sig" if encoding.upper() in ("UTF-8", "UTF8") else encoding


def _problems(
    spark: SparkSession, paths: Sequence[str], check: Callable[[str], Iterator[pa.RecordBatch]]
) -> dict[str, str]:
    """What `check` finds wrong with a file, by its path, each file checked by a task of its own."""
    if not paths:
        return {}
    return {row["path"]: row["problem"] for row in one_task_each(spark, paths, check, _PROBLEM).collect()}


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


def _check_quotes(path: str, encoding: str, separator: str) -> Iterator[pa.RecordBatch]:
    """Hold each record of more than one line against the letter of CSV.

    Spark, as the forgiving reader here, ends what is quoted wrongly at the next separator or line break; only a quote
    that reaches over a line break can take lines away. One that a later quote closes before a separator is a cell of
    several lines to every reader of CSV.
    """
    fs, plain = filesystem(path)
    csv.field_size_limit(LONGEST_CELL)
    lines: list[str] = []  # of the record that is being read
    before = 0
    with fs.open(plain, "rb", compression="infer") as file:
        text = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")
        try:
            for _ in csv.reader(_kept(text, lines), delimiter=separator, skipinitialspace=True):
                if len(lines) > 1:
                    next(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))
                before += len(lines)
                lines.clear()
        except csv.Error:
            told = f"has a quote in or below line {before + 1} that opens a cell and is not closed as CSV asks"
            yield _problem(path, f"{told}, so that it takes the lines below into that cell; close it or take it out")


def _kept(text: Iterable[str], lines: list[str]) -> Iterator[str]:
    for line in text:
        lines.append(line)
        yield line


def _problem(path: str, problem: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"path": path, "problem": problem}], _PROBLEM_SCHEMA)
