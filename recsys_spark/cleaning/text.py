"""Texts in one spelling, without Python on a line's way: codes and descriptions in NFKC, single spaces, upper case."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.spelling import MARKS, SPACES, WHOLE_NUMBER

_ODD_SPACES = ("  ", "\t", "\n", "\r", "\x0b", "\x0c")
_VOCABULARY = "text string, normal string"
_WHOLE_NUMBER = rf"\A{WHOLE_NUMBER}\z"  # Java's $ would also stand before a last line separator


def is_ascii(text: Column) -> Column:
    """Whether a text has no letter beyond ASCII; told from its bytes."""
    return F.length(text) == F.octet_length(text)


def is_plain(text: Column) -> Column:
    """Whether a text is known to be bare, at a tenth of what making it bare costs."""
    first, last = F.substring(text, 1, 1), F.substring(text, -1, 1)
    return first.between("!", "~") & last.between("!", "~") & is_ascii(text)


def bare(text: Column) -> Column:
    """`spelling.bare` of a column."""
    return F.when(is_plain(text), text).otherwise(_stripped(text))


def filled(text: Column) -> Column:
    """`bare`, null where nothing is left."""
    return F.when(is_plain(text), text).otherwise(F.nullif(_stripped(text), F.lit("")))


def _stripped(text: Column) -> Column:
    # Spark's translate drops what has no counterpart.
    return F.btrim(F.translate(text, MARKS, ""), F.lit(SPACES))


def whole_number(text: Column) -> Column:
    """`spelling.whole_number` of a column."""
    return F.when(text.contains(".0") & text.rlike(_WHOLE_NUMBER), F.substring_index(text, ".", 1)).otherwise(text)


def single_spaced(text: Column) -> Column:
    """Marks dropped, white space collapsed and trimmed; null for an empty text."""
    # Looking for odd spaces costs a tenth of the regular expression, and few values have any.
    has_odd_spaces = F.lit(False)
    for space in _ODD_SPACES:
        has_odd_spaces = has_odd_spaces | text.contains(space)
    visible = F.translate(text, SPACES + MARKS, " " * len(SPACES))
    single = F.when(is_ascii(text) & ~has_odd_spaces, text).otherwise(F.regexp_replace(visible, " +", " "))
    trimmed = F.trim(single)
    return F.when(trimmed != "", trimmed)


def tidy(text: Column) -> Column:
    """`single_spaced` in upper case."""
    return F.upper(single_spaced(text))


def tidy_codes(codes: Column) -> Column:
    """`spelling.tidy_code` of a column of codes that NFKC leaves as they are; null for an empty one."""
    return whole_number(tidy(codes))


def normal_forms(lines: DataFrame, columns: Iterable[str]) -> DataFrame:
    """text, normal: the distinct texts of the columns that NFKC changes, usually none or a few.

    Spark has no normalisation of its own. Texts that may need it are found by native expressions, and Python sees
    each of those once, not every line.
    """
    texts = lines.select(F.explode(F.array(*columns)).alias("text"))
    suspects = texts.filter(~is_ascii(F.col("text")) & F.col("text").rlike(_unstable_characters())).distinct()
    return suspects.mapInArrow(_normalise, _VOCABULARY).filter("text != normal")


def replace_by(lines: DataFrame, vocabulary: DataFrame, column: str) -> DataFrame:
    """Put the normal form in place of each text of the column that has one."""
    renamed = vocabulary.select(F.col("text").alias(column), F.col("normal").alias("_normal"))
    joined = lines.join(renamed, on=column, how="left")
    return joined.withColumn(column, F.coalesce("_normal", column)).drop("_normal").select(*lines.columns)


def _normalise(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        texts = batch.column(0).to_pylist()  # not Arrow's utf8_normalize, which misses some compositions (version 14)
        normal = [unicodedata.normalize("NFKC", text) for text in texts]
        yield pa.RecordBatch.from_arrays([batch.column(0), pa.array(normal, pa.string())], names=["text", "normal"])


@cache
def _unstable_characters() -> str:
    """A regular expression for characters that NFKC may change, alone or by joining the one before."""
    characters = [chr(point) for point in range(0x80, sys.maxunicode + 1) if not 0xD800 <= point <= 0xDFFF]
    # Not all that join are combining: letters of Hangul and vowel signs of Indic scripts join as well.
    joining = {second for character in characters for second in unicodedata.normalize("NFD", character)[1:]}
    unstable = [
        ord(character)
        for character in characters
        if character in joining
        or unicodedata.combining(character)
        or unicodedata.normalize("NFKC", character) != character
    ]
    ranges: list[list[int]] = []
    for point in unstable:
        if ranges and point == ranges[-1][1] + 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "[" + "".join(f"\\x{{{low:X}}}-\\x{{{high:X}}}" for low, high in ranges) + "]"
