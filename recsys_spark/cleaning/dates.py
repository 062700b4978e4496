"""Dates in the forms that exports hold them in -> UTC timestamps. What is no date stays null; none is invented."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from recsys_spark.cleaning.numbers import latin_digits
from recsys_spark.contracts.config import DatesConfig

# Excel's day 0 as days before 1970-01-01. The 1900 system counts a 29 February 1900 that never was, so its day 0 is
# right from 1 March 1900 on.
_EPOCH_OFFSET_DAYS = {1900: 25_569, 1904: 24_107}
_SECONDS_PER_DAY = 86_400
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
# Five digits: 1927 to 2173. Fewer could as well be a year or a day, so they are no serial.
_SERIAL = r"^[1-9]\d{4}(\.\d+)?$"
# The cast takes letters of zones too and guesses: BST is the time of Dhaka to it, AST that of Anchorage.
_ZONE_IS_KNOWN = r"^[\d-]{8,10}([T ][\d:.]* *(Z|(UTC|GMT)?([+-][\d:]+)?))?$"
# Spelled out: of three letters alone `Marble 5` would be a day in March.
_MONTH = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?"
)
_MONTH_DAY = rf"^(?i)({_MONTH})[-/ .]?(\d{{1,2}})$"
_DAY_MONTH = rf"^(?i)(\d{{1,2}})[-/ .]?({_MONTH})$"


def parse_date(text: Column, year: Column, config: DatesConfig) -> Column:
    """Timestamp of a date text; `year` is the row's own year text, which completes tokens such as `Jan-1`.

    The default year stands in for a blank year alone: a year that is no number leaves the token null.
    """
    latin = latin_digits(text)
    # Most texts are dates as they stand; digits are translated for the rest alone.
    return F.coalesce(_iso(F.trim(text)), _iso(latin), _other_forms(latin, year, config))


def plausible(time: Column) -> Column:
    """The time of a purchase, null outside the years 1900 to 2200: what stands there is a placeholder, no date."""
    start, end = (F.lit(f"{year}-01-01").cast("timestamp") for year in (_FIRST_YEAR, _LAST_YEAR + 1))
    return F.when((time >= start) & (time < end), time)


def _iso(text: Column) -> Column:
    # A bare cast would also take `12:30` as today and `2011` as a new year's day.
    ends_month = (F.substring(text, 8, 1) == "-") | (F.substring(text, 7, 1) == "-")  # of two digits, or of one
    looks_iso = (F.substring(text, 5, 1) == "-") & ends_month
    # So short a text that ends in a digit holds no zone but an offset; its length costs less than the expression.
    has_no_name = (F.length(text) <= 19) & F.substring(text, -1, 1).between("0", "9")
    return F.when(looks_iso & (has_no_name | text.rlike(_ZONE_IS_KNOWN)), text.cast("timestamp"))


def _other_forms(text: Column, year: Column, config: DatesConfig) -> Column:
    in_formats = [F.to_timestamp(text, form) for form in config.formats]
    return F.coalesce(_excel_serial(text, config.system), *in_formats, _token(text, year, config))


def _excel_serial(text: Column, system: int) -> Column:
    seconds = F.round(text.cast("double") * _SECONDS_PER_DAY).cast("bigint")
    since_1970 = seconds - F.lit(_EPOCH_OFFSET_DAYS[system] * _SECONDS_PER_DAY)
    return F.when(text.rlike(_SERIAL), F.timestamp_seconds(since_1970))


def _token(text: Column, year: Column, config: DatesConfig) -> Column:
    """`Jan-1` or `1 January`; with token_means `year`, `Jan-21` is the month January 2021."""
    is_month_first = text.rlike(_MONTH_DAY)
    name = F.when(is_month_first, F.regexp_extract(text, _MONTH_DAY, 1)).otherwise(
        F.regexp_extract(text, _DAY_MONTH, 2)
    )
    month = F.initcap(F.substring(name, 1, 3))
    number = F.when(is_month_first, F.regexp_extract(text, _MONTH_DAY, 2)).otherwise(
        F.regexp_extract(text, _DAY_MONTH, 1)
    )
    if config.token_means == "year":
        parts, form = (F.lpad(number, 2, "0"), month, F.lit("1")), "yy-MMM-d"
    else:
        own = latin_digits(year)
        full_year = F.when(own != "", own.cast("int")).otherwise(F.lit(config.default_year))
        in_range = F.when(full_year.between(_FIRST_YEAR, _LAST_YEAR), full_year)
        parts, form = (in_range.cast("string"), month, number), "yyyy-MMM-d"
    is_token = is_month_first | text.rlike(_DAY_MONTH)
    has_parts = parts[0].isNotNull()  # concat_ws would skip a missing year
    return F.when(is_token & has_parts, F.to_timestamp(F.concat_ws("-", *parts), form))
