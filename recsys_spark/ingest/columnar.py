"""Parquet files -> source frames, every column as the text that a workbook cell of its value would have."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    MapType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import ArtifactError, DataError
from recsys_spark.file_facts import size_and_rows
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.headers import match_headers
from recsys_spark.ingest.source_frames import SourceFrame, file_uri, position_name, shown_names, spark_pattern
from recsys_spark.paths import filesystem

log = logging.getLogger("recsys")

_MAGIC = b"PAR1"
_LARGEST_WHOLE = 1e18  # within bigint
_SMALLEST_PLAIN = 1e-6  # Spark writes a smaller decimal with an exponent


def read_parquet(spark: SparkSession, paths: Sequence[str], config: IngestConfig, bad: BadFiles) -> list[SourceFrame]:
    """One source frame for all files; a column that some of them lack is null there.

    source_row is the row in the file, from 1. bad: takes files that are no Parquet. Raises DataError for columns whose
    types differ between files, and for two headers of one column.
    """
    problems = {path: _problem(path) for path in paths}
    for path, problem in problems.items():
        if problem:
            bad.add(path, problem)
    paths = [path for path in paths if not problems[path]]
    if not paths:
        return []
    where = shown_names(paths)
    try:
        table = spark.read.option("mergeSchema", "true").parquet(*(spark_pattern(path) for path in paths))
        num_rows = table.count()
    except (PySparkException, Py4JJavaError) as error:
        raise DataError(f"{where} cannot be read as Parquet: {_cause(error)}") from error
    headers = match_headers(table.columns, config.aliases, where, row=0)
    log.info("%s: %s rows x %d columns; %s", where, f"{num_rows:,}", len(table.columns), headers.describe())
    return [SourceFrame(_texts(table), headers, where)]


def _problem(path: str) -> str | None:
    """What is wrong with a file's footer; Spark would fail with pages of its log."""
    fs, plain = filesystem(path)
    if fs.size(plain) < len(_MAGIC) or fs.tail(plain, len(_MAGIC)) != _MAGIC:
        return "is no Parquet file, or is cut off; write it again"
    try:
        size_and_rows(fs, plain)
    except ArtifactError as error:
        return f"is no Parquet file that can be read: {error}; write it again"
    return None


def _texts(table: DataFrame) -> DataFrame:
    texts = [
        F.when(F.trim(text) != "", text).alias(position_name(at))
        for at, text in enumerate(as_text(F.col(f"`{field.name}`"), field.dataType) for field in table.schema)
    ]
    return table.select(
        *texts,
        file_uri(F.col("_metadata.file_path")).alias("source_file"),
        F.lit("").alias("source_sheet"),
        (F.col("_metadata.row_index") + 1).alias("source_row"),
        F.lit(None).cast("bigint").alias("last_row"),
    )


def as_text(value: Column, type_: DataType) -> Column:
    """A column of any type as text, spelled as `cells.cell_text` spells a cell."""
    if isinstance(type_, (DoubleType, FloatType)):
        return _float_text(value)
    if isinstance(type_, DecimalType):
        return _without_trailing_zeros(value.cast("string"))
    if isinstance(type_, (TimestampType, TimestampNTZType)):
        rounded = value.cast("timestamp") + F.expr("INTERVAL 500 MILLISECONDS")
        return F.date_format(rounded, "yyyy-MM-dd'T'HH:mm:ss")
    if isinstance(type_, DateType):
        return F.date_format(value, "yyyy-MM-dd'T'HH:mm:ss")
    if isinstance(type_, BooleanType):
        return F.upper(value.cast("string"))
    if isinstance(type_, (ArrayType, MapType, StructType)):
        return F.to_json(value)
    return value.cast("string")


def _float_text(value: Column) -> Column:
    text = value.cast("string")  # the shortest digits that tell the number; an exponent from 1e7 on and below 1e-3
    is_whole = (value == F.floor(value)) & (F.abs(value) < _LARGEST_WHOLE)
    is_plain = F.abs(value).between(_SMALLEST_PLAIN, _LARGEST_WHOLE)
    plain = _without_trailing_zeros(text.cast("decimal(38,18)").cast("string"))
    return (
        F.when(is_whole, value.cast("bigint").cast("string")).when(text.contains("E") & is_plain, plain).otherwise(text)
    )


def _without_trailing_zeros(text: Column) -> Column:
    return F.when(text.rlike(r"^[^E]*\.[^E]*$"), F.regexp_replace(text, r"\.?0+$", "")).otherwise(text)


def _cause(error: Exception) -> str:
    """The innermost of the causes that Spark reports, else the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    return re.sub(r"^Caused by: [\w.$]+: ", "", causes[-1]) if causes else lines[0]
