"""What the dates of all lines say beside each one's own: whether day and month are swapped, and which lie too late."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.cleaning.dates import plausible
from recsys_spark.cleaning.numbers import latin_digits
from recsys_spark.contracts.config import CleanConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.frames import window_over_all

log = logging.getLogger("recsys")

_EPOCH = date(1970, 1, 1)
_DAY_AND_MONTH = r"^(\d{1,2})([/.-])(\d{1,2})\2\d\d(\d\d)?\b"
_DAY_AND_MONTH_OF_FORM = re.compile(r"^(dd?|MM?)([/.-])(dd?|MM?)\2y")
_MOST_UNREAD = 0.2  # share of such dates; of an export read in the wrong order it is 0.6, as most days are above 12
_LATE_SHARE = 0.01  # of the interactions, at most, lie behind the gap
_GAP_DAYS = 28  # as many days as recent popularity counts by default


def require_order_of_day_and_month(raw: DataFrame, unread: DataFrame, formats: Sequence[str]) -> None:
    """Raise DataError where many dates can be read only with day and month in the other order than the formats have.

    The others, such as 3/4/2011, were then read with the two swapped. raw: all lines; unread: those without a date;
    formats: `clean.dates.formats`. Few such dates may be slips of the pen: they are warned of.
    """
    swapped = {form: _swapped(form) for form in formats if _swapped(form) != form}
    if not swapped:
        return
    text = latin_digits(F.col("invoice_date"))
    in_order, in_other = (
        F.coalesce(*(F.to_timestamp(text, form) for form in forms)) for forms in (swapped.keys(), swapped.values())
    )
    # What fails in either order, such as `12/13/2010 8:26 AM`, fails in every form: none of its like was misread.
    swapped_lines = unread.filter(in_order.isNull() & plausible(in_other).isNotNull())
    first = F.regexp_extract(text, _DAY_AND_MONTH, 1).cast("int")
    row = swapped_lines.agg(F.count(F.lit(1)).alias("dates"), F.max(first).alias("first")).first()
    assert row is not None
    if not row["dates"]:
        return
    num_dates = raw.filter(text.rlike(_DAY_AND_MONTH)).count()
    order = "day" if row["first"] > 12 else "month"
    told = (
        f"{row['dates']:,} of {num_dates:,} dates such as 3/4/2011 can be read only with the {order} first, unlike "
        "clean.dates.formats; the others may have day and month swapped"
    )
    if row["dates"] > _MOST_UNREAD * num_dates:
        raise DataError(f"{told}. Set clean.dates.formats to {[swapped.get(form, form) for form in formats]}")
    log.warning("%s; these %s are rejected as unparsed_date", told, f"{row['dates']:,}")


def late_dates(interactions: DataFrame) -> dict[str, Any] | None:
    """The few interactions behind a long gap at the end of all, None where there are none; see `warn_of_late_dates`.

    `interactions`, `first_date` and `last_date` of them, and `last_before`, the last day before the gap.
    """
    per_day = interactions.groupBy(F.unix_date(F.to_date("invoice_date")).alias("day")).agg(
        F.count(F.lit(1)).alias("rows")
    )
    # One task sees all days: a century has 36,525.
    in_order = window_over_all("day")
    reached = F.sum("rows").over(in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    placed = per_day.withColumns({"before": F.lag("day").over(in_order), "reached": reached})
    total = F.broadcast(per_day.agg(F.sum("rows").alias("total"), F.max("day").alias("last")))
    behind = F.col("total") - F.col("reached") + F.col("rows")
    gaps = placed.crossJoin(total).withColumn("behind", behind)
    is_gap = F.col("day") - F.col("before") > _GAP_DAYS
    few = F.col("behind") <= F.greatest(F.lit(1), F.col("total") * _LATE_SHARE)
    first = gaps.filter(is_gap & few).orderBy("day").first()
    if first is None:
        return None
    days = {"first_date": first["day"], "last_date": first["last"], "last_before": first["before"]}
    dates = {name: (_EPOCH + timedelta(days=day)).isoformat() for name, day in days.items()}
    return {"interactions": first["behind"], **dates}


def warn_of_late_dates(late: dict[str, Any] | None, config: CleanConfig) -> None:
    """Warn of dates that nothing near precedes: they set the moment that all models of `fit=full` are fitted to."""
    if late is not None and config.dates.latest is None:
        log.warning(
            "%s interactions from %s to %s come after a gap that begins on %s: if their dates are mistyped, they set "
            "the moment of recommendations and spoil them; set clean.dates.latest to the last day that there can be",
            *(f"{late['interactions']:,}", late["first_date"], late["last_date"], late["last_before"]),
        )


def _swapped(form: str) -> str:
    """A form of dates with day and month in the other order, itself where it has no such two numbers."""
    return _DAY_AND_MONTH_OF_FORM.sub(r"\3\2\1\2y", form)
