"""ingest_report.json: every source file with its lines, and what was not read, or not as it was, with the reason."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.paths import python_path
from recsys_spark.plurals import things

log = logging.getLogger("recsys")

_IDS = ("invoice_id", "stock_code", "customer_id")
_SHOWN = 3  # files in a line of the log


@dataclass(frozen=True)
class NotRead:
    """What the sources hold beside the lines that were read.

    passed_over: files in the folders that are of no known format; rounded: by column, the ids that a spreadsheet
    program wrote as 5.01235E+12, so that those which differ in the digits cut off have become one.
    """

    bad: BadFiles
    passed_over: Sequence[str]
    rounded: Mapping[str, int]

    def warn(self) -> None:
        """Say it in the log, but for the bad files and hidden sheets, which were named when they were met."""
        if self.passed_over:
            names = ", ".join(path.rpartition("/")[2] for path in self.passed_over[:_SHOWN])
            more = f" and {len(self.passed_over) - _SHOWN:,} more" if len(self.passed_over) > _SHOWN else ""
            log.warning("not read, as their names are of no format known or begin with _: %s%s", names, more)
        for column, count in self.rounded.items():
            if count:
                told = f"{count:,} {things(count, 'line')}"
                log.warning(
                    "%s hold an id such as 5.01235E+12 in %s: a spreadsheet program cut its digits off, and different "
                    "ids may have become one; export the file again without opening it there",
                    told,
                    column,
                )


def rounded_ids() -> list[Column]:
    """By column of RAW_LINES, the number of `NotRead.rounded`."""
    # The look for the sign before the digits spares nearly every line the expression.
    return [
        F.count_if(F.col(name).contains("E+") & F.col(name).rlike(r"^\s*\d(\.\d+)?E\+\d+\s*$")).alias(name)
        for name in _IDS
    ]


def ingest_report(lines: DataFrame, files: Sequence[str], beside: NotRead) -> dict[str, Any]:
    """The document. lines: RAW_LINES as published; files: all that were to be read, as Python or Spark spells them.

    A file of lookups (products, customers) has no line of its own, nor has one with nothing below its headers.
    """
    orphan = F.count(F.when(F.col("ingest_rule").startswith("orphan_"), 1))
    counts = lines.groupBy("source_file").agg(F.count(F.lit(1)).alias("lines"), orphan.alias("orphans")).collect()
    by_file = {python_path(row["source_file"]): row for row in counts}
    problems = {python_path(bad.path): bad.problem for bad in beside.bad.found}
    places = {python_path(file): file for file in files}
    read = [
        {"file": file, "lines": by_file[place]["lines"] if place in by_file else 0}
        for place, file in sorted(places.items())
        if place not in problems
    ]
    return {
        "lines": sum(row["lines"] for row in counts),
        "orphans": sum(row["orphans"] for row in counts),
        "files": read,
        "skipped_files": [{"file": places[place], "reason": problems[place]} for place in sorted(problems)],
        "hidden_sheets": [{"file": path, "sheet": sheet} for path, sheet in beside.bad.hidden_sheets],
        "passed_over_files": list(beside.passed_over),
        "rounded_ids": dict(beside.rounded),
    }
