"""CSV files -> source frames, read by Spark, every line with its row number.

Rows are counted as records: 1 is the first record of the file, whatever it holds; lines that are empty or of ASCII
white space alone are no records (but a line of tabs is one where tabs part columns and Spark reads the file whole).
Spark splits a large file into blocks and numbers none of its rows, so they are counted first: within one scan
`monotonically_increasing_id` rises by one from row to row of a block, hence

    row = id - first id of the block + rows in earlier blocks of the file + 1

The figures per block come out of a scan that parses no field. They hold for a later one that splits the files alike:
`splits.py` sees to that, and an id that its block did not have is an error. A file with a line break inside quotes
cannot be split; it shows by an odd number of quotes on some line and is read in one task. So does a stray quote, which
would take the lines below into its cell: `texts.py` refuses the file.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TextIO

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.contracts.config import IngestConfig
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.file_tasks import LONGEST_CELL, python_encoding
from recsys_spark.ingest.headers import Headers, find_headers
from recsys_spark.ingest.source_frames import (
    HAS_TEXT,
    MANY,
    RAGGED,
    SURPLUS,
    WHITE_SPACE,
    SourceFrame,
    begins_in_ascii,
    decoded_uri,
    position_name,
    shown_names,
)
from recsys_spark.ingest.splits import fix_splits
from recsys_spark.ingest.texts import check_texts
from recsys_spark.paths import filesystem, spark_glob

log = logging.getLogger("recsys")

_BLOCKS = (
    "file_path string, file_block_start bigint, source_file string, first_id bigint, last_id bigint, offset bigint, "
    "last_row bigint"
)
_WRAPPED = re.compile(r'(?s)\A="(.*)"(?!.)')  # Java reads it alike, but would end \Z before a last line break
_BLANK = rf'(?>="[{WHITE_SPACE}]*"|[{WHITE_SPACE}]*)'  # a cell that says nothing
_TRIMMED = "".join(map(chr, range(ord(" ") + 1)))  # by Java's trim: a line that has nothing left is dropped


def read_csv(spark: SparkSession, paths: Sequence[str], config: IngestConfig, bad: BadFiles) -> list[SourceFrame]:
    """Source frames of the files; those that share a header row are read together.

    A .tsv is parted by tabs unless the config names a separator of its own. bad: takes files that are no text, or have
    nothing or what is no CSV in their first rows. Raises DataError for two headers for one column. The session keeps
    the number of splits that it has now: see `splits_kept`.
    """
    is_parted_by_tabs = config.csv_separator == IngestConfig.csv_separator
    tabbed = [path for path in paths if is_parted_by_tabs and path.lower().endswith((".tsv", ".tsv.gz"))]
    others = [path for path in paths if path not in set(tabbed)]
    sources = _read(spark, others, config, bad) if others else []
    return sources + (_read(spark, tabbed, replace(config, csv_separator="\t"), bad) if tabbed else [])


def _read(spark: SparkSession, paths: Sequence[str], config: IngestConfig, bad: BadFiles) -> list[SourceFrame]:
    """Source frames of files with one separator."""
    alike: dict[tuple[int, tuple[str, ...]], tuple[Headers, list[str]]] = {}
    texts = check_texts(spark, paths, config, bad)
    for path, whole in texts.items():
        try:
            records = _first_records(path, config, whole)
        except (csv.Error, OSError, EOFError) as error:
            bad.add(path, f"is no CSV that can be read: {error}; save it anew or take it out")
            continue
        if not any(map(any, records)):
            bad.add(path, f"is empty, or at least its first {config.header_search_rows} rows are; take it out")
            continue
        headers = find_headers(records, config.aliases, shown_names([path]))
        alike.setdefault((headers.row, headers.texts), (headers, []))[1].append(path)
    fix_splits(spark)
    sources = []
    for headers, group in alike.values():
        for whole in (False, True):
            chosen = [path for path in group if texts[path] == whole]
            if chosen:
                sources.append(_source(spark, chosen, headers, config, whole))
    return sources


def _first_records(path: str, config: IngestConfig, whole: bool) -> list[list[str | None]]:
    """The records among which the header row is looked for, counted as Spark counts them.

    Raises what Python's reader of CSV and of packed files do.
    """
    fs, plain = filesystem(path)
    limit = csv.field_size_limit(LONGEST_CELL)  # of this process, whose other users keep theirs
    try:
        with fs.open(plain, "rb", compression="infer") as file:
            text = io.TextIOWrapper(file, encoding=python_encoding(config.csv_encoding), errors="replace", newline="")
            records = islice(_records(text, config.csv_separator, whole), config.header_search_rows)
            return [[_WRAPPED.sub(r"\1", cell.strip()) or None for cell in record] for record in records]
    finally:
        csv.field_size_limit(limit)


def _records(text: TextIO, separator: str, whole: bool) -> Iterator[list[str]]:
    blanks = _TRIMMED.replace(separator, "") if whole else _TRIMMED
    lines = (line for line in text if line.strip(blanks))  # in quotes too, which changes no number of records
    return (record for record in csv.reader(lines, delimiter=separator, skipinitialspace=True) if record)


def _source(spark: SparkSession, paths: list[str], headers: Headers, config: IngestConfig, whole: bool) -> SourceFrame:
    where, width = shown_names(paths), len(headers.texts)
    rows = _scan(spark, paths, width, config, whole)
    blocks, num_rows = _blocks(spark, rows)
    shape = f"{num_rows:,} rows x {width} columns, headers in row {headers.row}"
    log.info("%s: %s; %s", where, shape, headers.describe())
    numbered = rows.join(F.broadcast(blocks), on=["file_path", "file_block_start"], how="left")
    names = [position_name(at) for at in range(width)]
    if width < MANY:
        texts = [_cell_text(F.col(name)) for name in names]
    else:
        numbered = numbered.withColumn("texts", F.transform(F.array(*names), _cell_text))
        texts = [F.col("texts")[at] for at in range(width)]
    frame = numbered.select(
        *(text.alias(name) for text, name in zip(texts, names, strict=True)),
        _has_text(config.csv_separator, width).alias(HAS_TEXT),
        _ragged(config.csv_separator, width).alias(RAGGED),
        _has_surplus(config.csv_separator, width).alias(SURPLUS),
        "source_file",
        F.lit("").alias("source_sheet"),
        _row_number().alias("source_row"),
        "last_row",
    )
    return SourceFrame(frame.filter(F.col("source_row") > headers.row), headers, where)


def _scan(spark: SparkSession, paths: list[str], width: int, config: IngestConfig, whole: bool) -> DataFrame:
    """Every record of the files with its block and id, header rows included."""
    names = [position_name(at) for at in range(width)]
    reader = spark.read.schema(", ".join(f"{name} string" for name in (*names, RAGGED))).options(
        sep=config.csv_separator,
        encoding=config.csv_encoding,
        quote='"',
        escape='"',
        ignoreLeadingWhiteSpace=True,  # else a quote behind a blank is part of the cell
        multiLine=whole,
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=RAGGED,
    )
    return reader.csv([spark_glob(path) for path in paths]).select(
        *names,
        RAGGED,
        "_metadata.file_path",
        "_metadata.file_block_start",
        F.monotonically_increasing_id().alias("id"),
    )


def _blocks(spark: SparkSession, rows: DataFrame) -> tuple[DataFrame, int]:
    """(one row per block with what turns an id into a row number, rows in all files)."""
    counted = rows.groupBy("file_path", "file_block_start").agg(
        F.count(F.lit(1)).alias("rows"), F.min("id").alias("first"), F.max("id").alias("last")
    )
    found = sorted(counted.collect(), key=lambda block: (block["file_path"], block["file_block_start"]))
    num_rows: dict[str, int] = {}
    offsets = []
    for block in found:
        before = num_rows.get(block["file_path"], 0)
        offsets.append(before - block["first"] + 1)
        num_rows[block["file_path"]] = before + block["rows"]
    values = [
        (path, start, decoded_uri(path), first, last, offset, num_rows[path])
        for (path, start, _, first, last), offset in zip(found, offsets, strict=True)
    ]
    return spark.createDataFrame(values, _BLOCKS), sum(num_rows.values())


def _row_number() -> Column:
    """The row in the file, or an error: of a block that is another now, at least one row has an id that is not its."""
    is_counted = F.col("id").between(F.col("first_id"), F.col("last_id"))  # null where the block was not there
    moved = F.concat(F.lit("the rows of "), "file_path", F.lit(" are split otherwise than when counted; run again"))
    return F.when(is_counted, F.col("id") + F.col("offset")).otherwise(F.raise_error(moved).cast("bigint"))


def _cell_text(text: Column) -> Column:
    """What a cell says, null where that is blank: `00123` of `="00123"`, which keeps Excel from seeing a number."""
    unwrapped = F.when(text.startswith('="'), F.regexp_replace(text, _WRAPPED.pattern, "$1")).otherwise(text)
    return F.when(_is_plain(text), text).when(~text.rlike(rf"\A{_BLANK}\z"), unwrapped)


def _is_plain(text: Column) -> Column:
    """Whether a cell surely says what stands in it, which most do."""
    return begins_in_ascii(text) & ~text.startswith("=")


def _has_text(separator: str, width: int) -> Column:
    """Whether any cell of a line says anything, or anything stands behind them; see HAS_TEXT in SourceFrame."""
    cells = [position_name(at) for at in range(width)]
    are_blank = F.concat_ws("\0", *cells).rlike(rf"\A(?:{_BLANK}(?:\x00|\z))*+\z")  # no text holds a NUL
    return _is_plain(F.col(cells[0])) | ~are_blank | ~F.col(RAGGED).rlike(_whole(separator, width))


def _ragged(separator: str, width: int) -> Column:
    """The text of a line with too many or too few fields, unless nothing is in it or behind its last column."""
    return F.when(~F.col(RAGGED).rlike(_whole(separator, width)), F.col(RAGGED))


def _whole(separator: str, width: int) -> str:
    """An expression for lines with nothing in them or behind their last column."""
    blanks = rf'[{WHITE_SPACE}"{re.escape(separator)}]*\z'
    return rf"\A(?:(?:{_columns(separator, width)}){blanks}|{blanks})"


def _has_surplus(separator: str, width: int) -> Column:
    """Whether a line holds anything behind its last column: one comma too many has moved all that follows it."""
    filled_behind = rf'\A{_columns(separator, width)}(?s:.*)[^{WHITE_SPACE}"{re.escape(separator)}]'
    return F.coalesce(F.col(RAGGED).rlike(filled_behind), F.lit(False))


def _columns(separator: str, width: int) -> str:
    """An expression for the first columns of a line, the separator behind each included."""
    end = re.escape(separator)
    # Atomic, or else what is quoted would be tried once more as if it were not.
    return rf'(?:(?> *"(?:[^"]++|"")*+" *(?={end}|\z)|[^{end}]*){end}){{{width}}}'
