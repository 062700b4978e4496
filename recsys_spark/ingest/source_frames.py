"""Sources that Spark reads itself, as frames of text columns, and their way to raw lines in native expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import LINE_COLUMNS, SOURCE_COLUMNS
from recsys_spark.contracts.schemas import RAW_LINES
from recsys_spark.ingest.headers import Headers

RAGGED = "ragged_line"  # text of a CSV line that has more or fewer fields than the header row
HAS_TEXT = "has_text"  # whether anything stands in a row
SURPLUS = "has_surplus"  # whether a CSV line has more fields than the header row, not all of them blank
# From so many columns on, their texts are made as an array: of eighty, each spelled out, Spark cannot compile the plan.
# Of a few it compiles one loop, which takes 0.7 of the time.
MANY = 25
# What str.strip takes, and so the readers of workbooks; \s of Spark's expressions is white space of ASCII alone.
WHITE_SPACE = "".join(filter(str.isspace, map(chr, range(0x3001))))


@dataclass(frozen=True)
class SourceFrame:
    """Files of one format that share their headers.

    frame: text columns named by `position_name` (null where blank), HAS_TEXT, the source columns, `last_row` (row of
    the file's last line, null where unknown), and for CSV RAGGED and SURPLUS. where: the files, to open messages with.

    HAS_TEXT is told from the columns of the file with one mention of each: Spark takes a filter down to the file with
    all that it is made of written out, and of sixty text columns that is more than it can compile.
    """

    frame: DataFrame
    headers: Headers
    where: str

    def text(self, column: str) -> Column:
        """A project column, null throughout where the source lacks it."""
        at = self.headers.columns.get(column)
        return F.lit(None).cast("string") if at is None else F.col(position_name(at))

    @property
    def lines(self) -> DataFrame:
        """The rows of the frame that hold any text: the others are blank rows, no lines."""
        return self.frame.filter(HAS_TEXT)


def position_name(position: int) -> str:
    """Name of the text column at a position from 0; source headers may repeat, or differ in case alone."""
    return f"c{position}"


def blank_as_null(text: Column) -> Column:
    """A cell's text, null where there is nothing but white space in it."""
    return F.when(begins_in_ascii(text) | text.rlike(f"[^{WHITE_SPACE}]"), text)


def begins_in_ascii(text: Column) -> Column:
    """Whether a text begins with a visible sign of ASCII; told from bytes, where a pattern decodes each cell."""
    return (text >= "!") & (text < "\x80")


def to_raw_lines(source: SourceFrame, totals_words: Sequence[str]) -> DataFrame:
    """RAW_LINES of a source; columns that it lacks are null."""
    return source.lines.select(
        *(source.text(column).alias(column) for column in LINE_COLUMNS),
        _extra(source).alias("extra"),
        *SOURCE_COLUMNS,
        _ingest_rule(source, totals_words).alias("ingest_rule"),
    ).select(*RAW_LINES.names)


def shown_names(paths: Sequence[str]) -> str:
    """Files as messages name them: the first, and how many more."""
    first = PurePosixPath(paths[0]).name
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1:,} more"


def decoded_uri(path: str) -> str:
    """Spark's spelling of a file as this project spells it.

    >>> decoded_uri("file:/data/a%20b.csv")
    'file:///data/a b.csv'
    """
    return re.sub("^file:/+", "file:///", unquote(path))


def file_uri(path: Column) -> Column:
    """`decoded_uri` of a column."""
    return F.regexp_replace(decoded_percents(path), "^file:/+", "file:///")


def decoded_percents(text: Column) -> Column:
    """A text with its %XX as what they stand for."""
    return F.url_decode(F.replace(text, F.lit("+"), F.lit("%2B")))  # it takes a plus for a space


def _extra(source: SourceFrame) -> Column:
    others = [F.col(position_name(at)).alias(key) for key, at in source.headers.others]
    if RAGGED in source.frame.columns:
        others.append(F.col(RAGGED))
    if not others:
        return F.lit(None).cast("string")
    return F.nullif(F.to_json(F.struct(*others), {"ignoreNullFields": "true"}), F.lit("{}"))


def _ingest_rule(source: SourceFrame, totals_words: Sequence[str]) -> Column:
    rule = F.when(_is_total(source, totals_words), "totals_row")
    return rule.when(F.col(SURPLUS), RAGGED) if SURPLUS in source.frame.columns else rule


def _is_total(source: SourceFrame, totals_words: Sequence[str]) -> Column:
    words = [word.strip().casefold() for word in totals_words]
    cells = F.array(*(position_name(at) for at in range(len(source.headers.texts))))
    has_word = F.exists(cells, lambda text: F.lower(F.btrim(text, F.lit(WHITE_SPACE))).isin(words))
    lacks_key = source.text("customer_id").isNull() | source.text("stock_code").isNull()
    return (F.col("source_row") == F.col("last_row")) & has_word & lacks_key
