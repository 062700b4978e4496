"""ingest_report.json: every source file with its lines, and those that were skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.ingest.bad_files import BadFile
from recsys_spark.paths import python_path


def ingest_report(lines: DataFrame, files: Sequence[str], skipped: Iterable[BadFile]) -> dict[str, Any]:
    """The document. lines: RAW_LINES as published; files: all that were to be read, as Python or Spark spells them.

    A file of lookups (products, customers) has no line of its own, nor has one with nothing below its headers.
    """
    orphan = F.count(F.when(F.col("ingest_rule").startswith("orphan_"), 1))
    counts = lines.groupBy("source_file").agg(F.count(F.lit(1)).alias("lines"), orphan.alias("orphans")).collect()
    by_file = {python_path(row["source_file"]): row for row in counts}
    problems = {python_path(bad.path): bad.problem for bad in skipped}
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
    }
