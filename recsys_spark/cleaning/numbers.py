"""Number text as spreadsheets and people write it -> exact decimals."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from recsys_spark.contracts.schemas import MONEY

ARABIC_INDIC_DIGITS = "٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹"
LATIN_DIGITS = "01234567890123456789"
_ARABIC_DECIMAL_POINT, _ARABIC_THOUSANDS = "٫", "٬"
_SPACES = " \u00a0\u202f\t"


def latin_digits(text: Column) -> Column:
    """Arabic-Indic and Persian digits as 0-9."""
    return F.translate(text, ARABIC_INDIC_DIGITS, LATIN_DIGITS)


def parse_decimal(text: Column) -> Column:
    """Decimal of four places, null for what is no finite number.

    Understands `1234.5`, `1,234.50`, `(12.00)` and `12.00-` for minus twelve, and Arabic-Indic digits. `1.234,50`
    and `0,500` stay null: whether a comma separates thousands or decimals is not guessed.
    """
    # Nearly every value is plain, and `coalesce` reaches for the regular expressions only where the cast fails.
    return F.coalesce(text.cast(MONEY), _normalised(text).cast(MONEY))


def _normalised(text: Column) -> Column:
    latin = F.translate(
        latin_digits(text), _ARABIC_DECIMAL_POINT + _ARABIC_THOUSANDS + "−" + _SPACES, ".,-"
    )  # translate drops what has no counterpart: the spaces
    in_brackets = latin.rlike(r"^\(.*\)$")
    minus_behind = latin.rlike(r"^[^-]+-$")
    bare = F.regexp_replace(latin, r"^\(|\)$|-$", "")
    signed = F.when(in_brackets | minus_behind, F.concat(F.lit("-"), bare)).otherwise(latin)
    # No thousands begin with 0: `0,500` is as likely one half.
    grouped = signed.rlike(r"^[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$")
    return F.when(grouped, F.regexp_replace(signed, ",", "")).otherwise(signed)
