"""Parquet files -> source frames, every column as the text that a workbook cell of its value would have."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from urllib.parse import unquote

import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    MapType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from recsys_spark.contracts.columns import SOURCE_COLUMNS
from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.error_causes import cause_in_one_line
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.headers import match_headers
from recsys_spark.ingest.source_frames import (
    HAS_TEXT,
    MANY,
    WHITE_SPACE,
    SourceFrame,
    blank_as_null,
    decoded_percents,
    file_uri,
    position_name,
    shown_names,
)
from recsys_spark.paths import filesystem, spark_glob

log = logging.getLogger("recsys")

_MAGIC = b"PAR1"
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_NANOS_AS_LONG = "spark.sql.legacy.parquet.nanosAsLong"
_LARGEST_WHOLE = 1e18  # within bigint
_SMALLEST_PLAIN = 1e-6  # Spark writes a smaller decimal with an exponent
_TRAILING_ZEROS = r"\.?0+$"  # of a number with decimal places


@dataclass(frozen=True)
class _Shape:
    """What files that are read together share: columns with their types, and the names of folders `name=value`."""

    columns: tuple[tuple[str, str], ...]
    folders: tuple[str, ...]  # the outermost first; every folder from there on is one

    @property
    def depths(self) -> dict[str, int]:
        """How far above the file the folder of a column is, from 1, for columns that the file itself lacks."""
        own = {name.casefold() for name, _ in self.columns}
        at = {name: len(self.folders) - place for place, name in enumerate(self.folders)}
        return {name: depth for name, depth in at.items() if name.casefold() not in own}


def read_parquet(spark: SparkSession, paths: Sequence[str], config: IngestConfig, bad: BadFiles) -> list[SourceFrame]:
    """Source frames of the files; those whose columns have the same names and types are read together.

    Folders named `column=value` right above a file are columns of it, with the value as the folder spells it.
    source_row is the row in the file, from 1. bad: takes files that are no Parquet. Raises DataError for two headers
    of one column.
    """
    alike: dict[_Shape, list[str]] = {}
    for path in paths:
        found = _shape(path)
        if isinstance(found, str):
            bad.add(path, found)
        else:
            alike.setdefault(found, []).append(path)
    return [_source(spark, group, shape, config) for shape, group in alike.items()]


def _shape(path: str) -> _Shape | str:
    """What the file's footer says, or what is wrong with it: Spark would fail with pages of its log."""
    fs, plain = filesystem(path)
    if fs.size(plain) < len(_MAGIC) or fs.tail(plain, len(_MAGIC)) != _MAGIC:
        return "is no Parquet file, or is cut off; write it again"
    try:
        with fs.open(plain, "rb") as file:
            schema = pq.read_schema(file)
    except Exception as error:  # whatever pyarrow makes of it
        return f"is no Parquet file that can be read: {error}; write it again"
    folders = list(takewhile(lambda name: "=" in name[1:], reversed(PurePosixPath(plain).parts[:-1])))
    names = tuple(unquote(name.partition("=")[0]) for name in reversed(folders))
    return _Shape(tuple((field.name, str(field.type)) for field in schema), names)


def _source(spark: SparkSession, paths: Sequence[str], shape: _Shape, config: IngestConfig) -> SourceFrame:
    where = shown_names(paths)
    if any(_is_nanos(type_) for _, type_ in shape.columns):
        # Without it Spark refuses the file. It stays set: the rows are read later than here, and nothing needs it off.
        spark.conf.set(_NANOS_AS_LONG, "true")
    try:
        table = spark.read.parquet(*(spark_glob(path) for path in paths))
        num_rows = table.count()
    except (PySparkException, Py4JJavaError) as error:
        raise DataError(f"{where} cannot be read as Parquet: {cause_in_one_line(error)}") from error
    names = [*table.columns, *shape.depths]
    headers = match_headers(names, config.aliases, where, row=0)
    log.info("%s: %s rows x %d columns; %s", where, f"{num_rows:,}", len(names), headers.describe())
    return SourceFrame(_texts(table, shape), headers, where)


def _is_nanos(arrow_type: str) -> bool:
    return arrow_type.startswith("timestamp[ns")


def _texts(table: DataFrame, shape: _Shape) -> DataFrame:
    """The text columns, those of folders among them, and the source columns."""
    file = file_uri(F.col("_metadata.file_path"))
    arrow_types = dict(shape.columns)
    values, has_text = [], []
    for field in table.schema:
        value, type_ = F.col(f"`{field.name}`"), field.dataType
        if _is_nanos(arrow_types.get(field.name, "")):  # as pandas writes times; Spark has them as numbers
            value, type_ = F.timestamp_micros(F.round(value / 1000).cast("bigint")), TimestampType()
        values.append((value, type_))
        has_text.append(_has_text(value, type_))
    folders = [blank_as_null(_folder_value(F.element_at(F.split(file, "/"), -1 - up))) for up in shape.depths.values()]
    has_text += [folder.isNotNull() for folder in folders]
    made, texts = _made_texts(values)
    for number, folder in enumerate(folders):
        made.append(folder.alias(f"folder_{number}"))
        texts.append(F.col(f"folder_{number}"))
    found = table.select(
        *made,
        F.coalesce(*(F.when(holds, F.lit(True)) for holds in has_text), F.lit(False)).alias(HAS_TEXT),
        file.alias("source_file"),
        F.lit("").alias("source_sheet"),
        (F.col("_metadata.row_index") + 1).alias("source_row"),
        F.lit(None).cast("bigint").alias("last_row"),
    )
    named = (text.alias(position_name(at)) for at, text in enumerate(texts))
    return found.select(*named, HAS_TEXT, *SOURCE_COLUMNS, "last_row")


def _made_texts(values: Sequence[tuple[Column, DataType]]) -> tuple[list[Column], list[Column]]:
    """(columns to select, the text of each value among them): one by one, or of MANY an array of each type."""
    if len(values) < MANY:
        made = [_cell_text(type_)(value).alias(f"text_{at}") for at, (value, type_) in enumerate(values)]
        return made, [F.col(f"text_{at}") for at in range(len(made))]
    of_type: dict[DataType, list[Column]] = {}
    texts = []
    for value, type_ in values:
        alike = of_type.setdefault(type_, [])
        texts.append(F.col(f"texts_{list(of_type).index(type_)}")[len(alike)])
        alike.append(value)
    arrays = [F.transform(F.array(*alike), _cell_text(type_)) for type_, alike in of_type.items()]
    return [array.alias(f"texts_{number}") for number, array in enumerate(arrays)], texts


def _cell_text(type_: DataType) -> Callable[[Column], Column]:
    """What makes a text of one value; texts of other types than these are never blank: they need no look."""
    if isinstance(type_, (StringType, BinaryType)):
        return lambda value: blank_as_null(as_text(value, type_))
    return lambda value: as_text(value, type_)


def _folder_value(folder: Column) -> Column:
    """What stands behind the `=`, as Hive and Spark write it: some signs as %XX, and a name of its own for null."""
    value = F.regexp_replace(folder, "^[^=]*=", "")
    decoded = F.when(value.rlike("%(?![0-9A-Fa-f]{2})"), value).otherwise(decoded_percents(value))
    return F.when(value != _NULL_FOLDER, decoded)


def _has_text(value: Column, type_: DataType) -> Column:
    """Whether `as_text` of a value is neither null nor blank, with one mention of the value."""
    if isinstance(type_, (StringType, BinaryType)):
        return value.cast("string").rlike(f"[^{WHITE_SPACE}]")
    return _is_finite(value) if isinstance(type_, (DoubleType, FloatType)) else value.isNotNull()


def as_text(value: Column, type_: DataType) -> Column:
    """A column of any type as text, spelled as `cells.cell_text` spells a cell; null for what is no number."""
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
    plain = F.regexp_replace(text.cast("decimal(38,18)").cast("string"), _TRAILING_ZEROS, "")
    return (
        F.when(is_whole, value.cast("bigint").cast("string"))
        .when(text.contains("E") & is_plain, plain)
        .when(_is_finite(value), text)
    )


def _is_finite(value: Column) -> Column:
    return F.abs(value) < float("inf")  # NaN is the largest of all


def _without_trailing_zeros(text: Column) -> Column:
    return F.when(text.rlike(r"^[^E]*\.[^E]*$"), F.regexp_replace(text, _TRAILING_ZEROS, "")).otherwise(text)
