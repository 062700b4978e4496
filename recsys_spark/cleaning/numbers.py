"""Number text as spreadsheets and people write it -> exact decimals."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from recsys_spark.contracts.schemas import MONEY
from recsys_spark.spelling import LINE_BREAKS, MARKS, SPACES

_ARABIC_INDIC, _LATIN = "٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹٫", "01234567890123456789."
_ARABIC_THOUSANDS = "٬"
# Between thousands; a line break stays where it is, so that two numbers in one cell are none.
_INNER_SPACES = "".join(space for space in SPACES if space not in LINE_BREAKS)


def latin_digits(text: Column) -> Column:
    """Trimmed, without marks, all spaces alike; Arabic-Indic and Persian digits as 0-9, their point as a point."""
    # In one expression, as the JVM compiles no method of a plan beyond 8,000 bytes; what has no counterpart is dropped.
    return F.trim(F.translate(text, _ARABIC_INDIC + SPACES + MARKS, _LATIN + " " * len(SPACES)))


def parse_decimal(text: Column) -> Column:
    """Decimal of four places, null for what is no finite number.

    Understands `1234.5`, `1,234.50`, `1 234.50`, `(12.00)` and `12.00-` for minus twelve, and Arabic-Indic digits.
    `1.234,50` and `0,500` stay null: whether a comma separates thousands or decimals is not guessed. So does `12 50`,
    which may be two numbers: a space stands only between thousands.
    """
    # Nearly every value is plain, and `coalesce` reaches for the regular expressions only where the cast fails.
    return F.coalesce(text.cast(MONEY), _normalised(text).cast(MONEY))


def _normalised(text: Column) -> Column:
    # translate drops what has no counterpart
    seen = _ARABIC_INDIC + _ARABIC_THOUSANDS + "−" + _INNER_SPACES + MARKS
    shown = F.translate(text, seen, _LATIN + ",-" + " " * len(_INNER_SPACES))
    # All but the spaces between two digits.
    latin = F.regexp_replace(F.btrim(shown, F.lit(" " + LINE_BREAKS)), r"(?<![\d ]) +| +(?![\d ])", "")
    in_brackets = latin.rlike(r"^\(.*\)$")
    minus_behind = latin.rlike(r"^[^-]+-$")
    unsigned = F.regexp_replace(latin, r"^\(|\)$|-$", "")
    signed = F.when(in_brackets | minus_behind, F.concat(F.lit("-"), unsigned)).otherwise(latin)
    # No thousands begin with 0: `0,500` is as likely one half.
    grouped = signed.rlike(r"^[-+]?[1-9]\d{0,2}((,\d{3})+|( \d{3})+)(\.\d*)?$")
    return F.when(grouped, F.regexp_replace(signed, "[, ]", "")).otherwise(signed)
