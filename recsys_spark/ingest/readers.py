"""The files that a config names -> raw lines with their source, whatever their format."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.columns import REQUIRED_COLUMNS
from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.columnar import read_parquet
from recsys_spark.ingest.delimited import read_csv
from recsys_spark.ingest.headers import require_columns
from recsys_spark.ingest.source_frames import SourceFrame, shown_names, to_raw_lines
from recsys_spark.ingest.workbooks import read_workbooks
from recsys_spark.source_files import expand, passed_over

SUFFIXES = {
    "workbook": (".xlsx", ".xlsm", ".xls", ".xlsb"),
    "csv": (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"),
    "parquet": (".parquet",),
}


def source_files(config: IngestConfig) -> list[str]:
    """The files of `ingest.sources`. Raises ConfigError where there are none."""
    if not config.sources:
        raise ConfigError("nothing to ingest: set ingest.sources (files, folders, globs) or ingest.tables.transactions")
    return expand(config.sources, _suffixes(config))


def files_passed_over(config: IngestConfig) -> list[str]:
    """Files in the folders of `ingest.sources` that are not read, though their name does not say that they are none."""
    return passed_over(config.sources, _suffixes(config))


def _suffixes(config: IngestConfig) -> tuple[str, ...]:
    return SUFFIXES.get(config.format) or tuple(suffix for group in SUFFIXES.values() for suffix in group)


def read_sources(spark: SparkSession, config: IngestConfig, bad: BadFiles | None = None) -> DataFrame:
    """RAW_LINES of all source files. Raises ConfigError or DataError for what cannot be read; never returns no line.

    bad: takes files that cannot be read; without it the first is an error.
    """
    bad = bad or BadFiles()
    by_kind: dict[str, list[str]] = {kind: [] for kind in SUFFIXES}
    files = source_files(config)
    for path in files:
        by_kind[kind_of(path, config.format)].append(path)
    frames = []
    if by_kind["workbook"]:
        workbooks = read_workbooks(spark, by_kind["workbook"], config, bad)
        frames += [workbooks] if workbooks is not None else []
    sources = read_native(spark, by_kind["csv"] + by_kind["parquet"], config, bad)
    for source in sources:
        require_columns(source.headers, REQUIRED_COLUMNS, config.aliases, source.where)
    frames += [to_raw_lines(source, config.totals_words) for source in with_lines(sources)]
    if not frames:
        skipped = f", {len(bad.found):,} skipped" if bad.found else ""
        raise DataError(f"{shown_names(files)}: no line below the headers{skipped}; nothing to ingest")
    return reduce(DataFrame.unionByName, frames)


def read_native(spark: SparkSession, paths: Iterable[str], config: IngestConfig, bad: BadFiles) -> list[SourceFrame]:
    """Source frames of CSV and Parquet files."""
    by_kind: dict[str, list[str]] = {"csv": [], "parquet": []}
    for path in paths:
        by_kind[kind_of(path, config.format)].append(path)
    csv = read_csv(spark, by_kind["csv"], config, bad) if by_kind["csv"] else []
    parquet = read_parquet(spark, by_kind["parquet"], config, bad) if by_kind["parquet"] else []
    return csv + parquet


def with_lines(sources: Iterable[SourceFrame]) -> list[SourceFrame]:
    """The sources that hold a line."""
    return [source for source in sources if not source.lines.isEmpty()]


def kind_of(path: str, format_: str = "auto") -> str:
    """`workbook`, `csv` or `parquet`: what the config says, or else what the file's suffix says.

    >>> kind_of("orders.XLSX"), kind_of("orders.dat", "csv")
    ('workbook', 'csv')
    """
    if format_ in SUFFIXES:
        return format_
    for kind, suffixes in SUFFIXES.items():
        if path.lower().endswith(suffixes):
            return kind
    known = ", ".join(suffix for group in SUFFIXES.values() for suffix in group)
    raise ConfigError(f"'{path}' ends in none of {known}; set ingest.format to workbook, csv or parquet")
