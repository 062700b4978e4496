"""Cell values of a workbook -> the text that a line keeps, the same for every engine."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

# From here on plain digits say less than an exponent does; no id, quantity or amount is that large or small.
_LARGEST_PLAIN, _SMALLEST_PLAIN = 1e21, 1e-9


def cell_text(value: Any) -> str | None:
    """The text of one cell, None for a blank one.

    Texts stay as they are, leading zeros and outer spaces included; numbers lose a fraction of zero; times are
    rounded to the second. What is no number (NaN, infinite) is blank. Excel's error cells come as None: calamine
    reads them as blank, and the reader of openpyxl's cells leaves them out.

    >>> cell_text(71053.0), cell_text(2.55), cell_text("007"), cell_text(" "), cell_text(True)
    ('71053', '2.55', '007', None, 'TRUE')
    >>> cell_text(datetime(2010, 12, 1, 8, 26)), cell_text(date(2010, 12, 1)), cell_text(timedelta(hours=36))
    ('2010-12-01T08:26:00', '2010-12-01T00:00:00', '36:00:00')
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return _number_text(float(value)) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return _moment_text(value)
    if isinstance(value, date):  # calamine's reading of a date-time at midnight
        return f"{value.isoformat()}T00:00:00"
    if isinstance(value, time):
        return _duration_text(datetime.combine(date.min, value) - datetime.min)
    if isinstance(value, timedelta):
        return _duration_text(value)
    return str(value)


def _number_text(value: float) -> str:
    text = repr(value + 0.0)  # the sum turns -0.0 into 0.0
    if text.endswith(".0"):
        return text[:-2]
    if "e" in text and _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
        return format(Decimal(text), "f")
    return text


def _moment_text(value: datetime) -> str:
    if value.microsecond:
        value = (value + timedelta(microseconds=500_000)).replace(microsecond=0)
    return value.isoformat(timespec="seconds")


def _duration_text(value: timedelta) -> str:
    seconds = int(abs(value).total_seconds() + 0.5)
    sign = "-" if value < timedelta(0) and seconds else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
