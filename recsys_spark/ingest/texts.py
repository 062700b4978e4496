"""Which CSV files are text of the configured encoding, and which of them Spark must read in one piece."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.error_causes import cause_in_one_line
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.file_tasks import open_quotes, packed_problems, undecodable
from recsys_spark.ingest.packages import UnpackLimits
from recsys_spark.ingest.source_frames import decoded_uri, shown_names
from recsys_spark.paths import filesystem, python_path, spark_glob

_NOT_BYTEWISE = ("UTF-16", "UTF-32")  # Spark cannot tell where their lines end when it splits a file
_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}  # byte order marks


def check_texts(spark: SparkSession, paths: Sequence[str], config: IngestConfig, bad: BadFiles) -> dict[str, bool]:
    """The files that are text, in their order; of each, whether it must be read in one piece.

    A line with an odd number of quotes begins a field with a line break, which no split of the file may fall into.
    bad: takes files with NUL characters, of another encoding, packed and not whole, or with a quote that is not closed.
    Raises ConfigError for an encoding that nobody knows.
    """
    try:
        codecs.lookup(config.csv_encoding)
    except LookupError:
        raise ConfigError(f"ingest.csv_encoding '{config.csv_encoding}' is not known; UTF-8 is") from None
    problems = {path: problem for path in paths if (problem := _head_problem(path, config.csv_encoding))}
    limits = UnpackLimits(config.max_unpacked_bytes, config.max_unpacked_ratio)
    packed = [path for path in paths if path.lower().endswith(".gz") and path not in problems]
    problems |= packed_problems(spark, packed, limits)
    remaining = [path for path in paths if path not in problems]
    wrong = f"is no text in {config.csv_encoding}, or holds NUL characters; set ingest.csv_encoding or save it anew"
    if config.csv_encoding.upper().startswith(_NOT_BYTEWISE):
        problems |= dict.fromkeys(undecodable(spark, remaining, config.csv_encoding), wrong)
        facts: dict[str, Row] = {}
    else:
        facts = _facts_of_lines(spark, remaining, config.csv_encoding) if remaining else {}
        problems |= {path: wrong for path in remaining if facts and _fact(facts, path, "is_wrong")}
    whole = config.csv_encoding.upper().startswith(_NOT_BYTEWISE)
    in_one_piece = {path: whole or _fact(facts, path, "has_open_quote") for path in remaining if path not in problems}
    suspects = [path for path, is_whole in in_one_piece.items() if is_whole]
    problems |= open_quotes(spark, suspects, config.csv_encoding, config.csv_separator)
    for path in paths:
        if path in problems:
            bad.add(path, problems[path])
    return {path: is_whole for path, is_whole in in_one_piece.items() if path not in problems}


def _head_problem(path: str, encoding: str) -> str | None:
    """What the first bytes of a file give away."""
    fs, plain = filesystem(path)
    with fs.open(plain, "rb") as file:
        head = file.read(4)
    if head == b"PK\x03\x04":
        return "is a workbook or a zip file, no CSV; unpack it, or name it .xlsx if it is a workbook"
    for mark, marked in _MARKS.items():
        if head.startswith(mark) and not encoding.upper().replace("UTF8", "UTF-8").startswith((marked, "UTF-32")):
            return f"is text in {marked}, not in {encoding}; set ingest.csv_encoding to {marked} or save it anew"
    return None


def _facts_of_lines(spark: SparkSession, paths: Sequence[str], encoding: str) -> dict[str, Row]:
    """By file, as Python spells it: has_open_quote, is_wrong. One pass over the lines, unparsed."""
    lines = spark.read.text([spark_glob(path) for path in paths])
    text = F.col("value")  # the bytes of the line, which Spark takes for UTF-8
    is_wrong = text.contains("\0")
    if encoding.upper() in ("UTF-8", "UTF8"):  # others decode whatever bytes there are
        is_wrong |= F.encode(text, "UTF-8") != text.cast("binary")  # what does not decode is replaced
    else:
        text = F.decode(text.cast("binary"), encoding)
    num_quotes = F.length(text) - F.length(F.translate(text, '"', ""))
    by_file = lines.groupBy("_metadata.file_path").agg(
        F.max(num_quotes % 2 == 1).alias("has_open_quote"), F.max(is_wrong).alias("is_wrong")
    )
    try:
        found = by_file.collect()
    except (PySparkException, Py4JJavaError) as error:
        raise DataError(f"{shown_names(paths)} cannot be read: {cause_in_one_line(error)}") from error
    return {python_path(decoded_uri(row["file_path"])): row for row in found}


def _fact(facts: dict[str, Row], path: str, name: str) -> bool:
    """A fact of a file; an empty file has no line to tell one."""
    row = facts.get(python_path(path))
    return bool(row[name]) if row is not None else False
