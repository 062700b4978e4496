"""Tables that people keep, of products or of customers and products: CSV, Parquet or workbooks -> text columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import islice

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.cleaning.text import normal_forms, replace_by, tidy_codes
from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.engines import open_workbook
from recsys_spark.ingest.headers import find_headers, normalise, require_columns
from recsys_spark.ingest.readers import SUFFIXES, kind_of, read_native
from recsys_spark.ingest.source_frames import HAS_TEXT, SourceFrame, position_name
from recsys_spark.ingest.workbooks import SheetPreview, inspect_workbooks
from recsys_spark.privacy.customer_ids import normal_ids, per_text
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.source_files import expand

_ROWS_AT_A_TIME = 20_000
_CELLS = "cells array<string>"


def table_files(path: str) -> list[str]:
    """The files of a table: one, or those of a folder or glob. Raises ConfigError where there are none."""
    return expand([path], tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes))


def read_table(
    spark: SparkSession,
    path: str,
    key: str,
    required: Sequence[str],
    others: Mapping[str, Sequence[str]],
    ingest: IngestConfig,
) -> DataFrame:
    """The columns `required`, then `others`, as trimmed text, blank cells null; one row per row of the table.

    Headers of `required` are known by ingest.aliases, the others by their names and the spellings given with them; one
    that no file has is null. key: the config key, for messages. Raises DataError for a file that is no table, a
    required column that is not there, a cell of one that is blank, and a table without a row.
    """
    options = _of_any_kind(ingest)
    sources = _sources(spark, table_files(path), options)
    for source in sources:
        require_columns(source.headers, required, options.aliases, f"{source.where} ({key})")
    tables = [source.lines.select(*_texts(source, required, others)) for source in sources]
    nothing = f"'{path}' ({key}) has no row below its headers; fill it, or set {key}=null"
    if not tables:
        raise DataError(nothing)
    table = reduce(DataFrame.unionByName, tables)
    blank = [F.count_if(F.col(column).isNull()).alias(column) for column in required]
    counts = table.agg(F.count(F.lit(1)).alias("rows"), *blank).first()
    if counts is None or counts["rows"] == 0:
        raise DataError(nothing)
    for column in required:
        if counts[column]:
            number = f"{counts[column]:,}"
            raise DataError(f"'{path}' ({key}): rows without {column}: {number}; fill the cells or remove the rows")
    return table


def as_stock_codes(table: DataFrame) -> DataFrame:
    """The table with `stock_code` spelled as in the interactions."""
    spelled = replace_by(table, normal_forms(table, ("stock_code",)), "stock_code")
    return spelled.withColumn("stock_code", tidy_codes(F.col("stock_code")))


def as_customers(table: DataFrame, entry: CustomerEntry) -> DataFrame:
    """The table with `customer_id` as in the interactions, without the rows of forgotten customers."""
    if entry.forgotten:
        table = table.filter(~per_text(entry.is_forgotten, "boolean", F.col("customer_id")))
    return table.withColumn("customer_id", entry.named(normal_ids(F.col("customer_id"))))


def known_only(table: DataFrame, ids: DataFrame, column: str, where: str, unknown: str) -> DataFrame:
    """The rows whose id the run knows. ids: a frame with that column; where: opens the message.

    Raises DataError for others, unless unknown is `ignore`.
    """
    if unknown == "error":
        strange = table.join(ids.select(column), on=column, how="left_anti").select(column).distinct()
        shown = [f"'{row[column]}'" for row in strange.orderBy(column).take(3)]
        if shown:
            number = strange.count()
            more = f" and {number - len(shown):,} more" if number > len(shown) else ""
            raise DataError(
                f"{where} names {column} {', '.join(shown)}{more}, which no purchase line has; correct it, or set "
                "recommend.unknown_ids=ignore"
            )
    return table.join(ids, on=column, how="inner")


def _of_any_kind(ingest: IngestConfig) -> IngestConfig:
    """How the table is read: aliases, separator, encoding, engine and limits of ingest, kind by suffix, all sheets."""
    return IngestConfig(
        aliases=ingest.aliases,
        engine=ingest.engine,
        csv_separator=ingest.csv_separator,
        csv_encoding=ingest.csv_encoding,
        header_search_rows=ingest.header_search_rows,
        max_unpacked_bytes=ingest.max_unpacked_bytes,
        max_unpacked_ratio=ingest.max_unpacked_ratio,
    )


def _sources(spark: SparkSession, files: Sequence[str], options: IngestConfig) -> list[SourceFrame]:
    workbooks = [file for file in files if kind_of(file) == "workbook"]
    bad = BadFiles()  # a table that cannot be read is an error whatever ingest.on_bad_file says
    sources = read_native(spark, [file for file in files if file not in workbooks], options, bad)
    if workbooks:
        previews = inspect_workbooks(spark, workbooks, options, bad)
        sources += [_sheet(spark, preview, options) for preview in previews if any(any(row) for row in preview.top)]
    return sources


def _sheet(spark: SparkSession, preview: SheetPreview, options: IngestConfig) -> SourceFrame:
    headers = find_headers(preview.top, options.aliases, preview.where)
    read = partial(
        _cells,
        path=preview.path,
        sheet=preview.name,
        engine=options.engine,
        skipped=headers.row,
        width=len(headers.texts),
    )
    rows = spark.range(0, 1, 1, numPartitions=1).mapInArrow(read, _CELLS)
    texts = (F.col("cells")[at].alias(position_name(at)) for at in range(len(headers.texts)))
    has_text = F.exists("cells", F.isnotnull)
    return SourceFrame(rows.select(*texts, has_text.alias(HAS_TEXT)), headers, preview.where)


def _cells(
    batches: Iterable[pa.RecordBatch], path: str, sheet: str, engine: str, skipped: int, width: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a sheet below its headers, each of `width` cells."""
    for batch in batches:
        if batch.num_rows == 0:
            continue
        with open_workbook(path, engine) as book:
            rows = ((row + [None] * width)[:width] for row in islice(book.rows(sheet), skipped, None))
            while part := list(islice(rows, _ROWS_AT_A_TIME)):
                yield pa.RecordBatch.from_arrays([pa.array(part, pa.list_(pa.string()))], names=["cells"])


def _texts(source: SourceFrame, required: Sequence[str], others: Mapping[str, Sequence[str]]) -> list[Column]:
    positions = {column: source.headers.columns[column] for column in required}
    spelled = {normalise(text): at for text, at in source.headers.others}
    for column, spellings in others.items():
        found = [spelled[normalise(each)] for each in (column, *spellings) if normalise(each) in spelled]
        if len(set(found)) > 1:
            names = " and ".join(f"'{source.headers.texts[at]}'" for at in sorted(set(found)))
            raise DataError(f"{source.where}: two headers mean {column}: {names}; remove or rename one")
        if found:
            positions[column] = found[0]
    texts = {column: F.trim(position_name(at)) for column, at in positions.items()}
    return [
        (F.when(texts[column] != "", texts[column]) if column in texts else F.lit(None).cast("string")).alias(column)
        for column in (*required, *others)
    ]
