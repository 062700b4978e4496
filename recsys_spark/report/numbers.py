"""Numbers as people read them, and the figures of a JSON document with the place that they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

THIN = "\u202f"  # a narrow space that does not break, before a unit
MINUS = "\u2212"
NOTHING = Markup('<span class="none">n/a</span>')


def spell(value: float, form: str) -> str:
    """A number in one of the forms count, money, percent, points, number, fixed (two
    decimals), p, seconds.

    percent and points take a share; points are the difference of two shares, with its sign.

    >>> spell(1469307, "count"), spell(0.17668, "percent").replace(THIN, " ")
    ('1,469,307', '17.7 %')
    >>> spell(0.0089, "points"), spell(-0.00012, "points"), spell(0.00047, "percent").replace(THIN, " ")
    ('+0.89', '−0.01', '0.05 %')
    >>> spell(224.1, "seconds").replace(THIN, " "), spell(0.0004, "p"), spell(0.0203, "p")
    ('3 min 44 s', '< 0.001', '0.020')
    """
    if form == "count":
        return f"{value:,.0f}"
    if form == "money":
        return f"{value:,.{0 if abs(value) >= 1000 else 2}f}"
    if form == "percent":
        return f"{100 * value:.{_decimals(100 * value)}f}{THIN}%"
    if form == "points":
        return _signed(100 * value, _decimals(100 * value))
    if form == "fixed":
        return f"{value:.2f}"
    if form == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if form == "seconds":
        return _duration(value)
    return _plain(value)


def _decimals(value: float) -> int:
    """One, or two below 0.95, so that small shares do not all read 0.0 or 0.1."""
    return 1 if value == 0 or abs(value) >= 0.95 else 2


def _signed(value: float, decimals: int) -> str:
    text = f"{abs(value):.{decimals}f}"
    return text if float(text) == 0 else (MINUS if value < 0 else "+") + text


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}{THIN}h " if hours else "") + f"{minutes}{THIN}min" + (f" {rest}{THIN}s" if not hours else "")


def _plain(value: float) -> str:
    if float(value).is_integer() and abs(value) < 1e15:
        return spell(value, "count")
    return (
        f"{value:.4g}" if 1e-4 <= abs(value) < 1e4 else spell(value, "money") if abs(value) >= 1e4 else f"{value:.2e}"
    )


def pointer(*keys: str | int) -> str:
    """A JSON pointer (RFC 6901).

    >>> pointer("split", "BAKED BREAD/BUNS", 0)
    '/split/BAKED BREAD~1BUNS/0'
    """
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def value_at(document: Any, *keys: str | int) -> Any:
    """What lies there, None where there is nothing."""
    for key in keys:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def as_number(value: Any) -> float | int | None:
    """A finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


class Figures:
    """Writes numbers of JSON documents into the page, each with the place that it was read from.

    The element holds the exact value, so that what the page says can be held against the document.
    """

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self._documents = documents

    def value(self, document: str, *keys: str | int) -> Any:
        """What the document says there, None where it says nothing."""
        return value_at(self._documents.get(document), *keys)

    def show(self, form: str, document: str, *keys: str | int, under: int = 0) -> Markup:
        """The number as text in a `data` element; a word where there is none.

        under: how many of document and keys an element around it states already, as `place` spells them. Thousands of
        figures would else repeat the same long beginning.
        """
        number = as_number(self.value(document, *keys))
        return (
            NOTHING if number is None else _DATA.format(number, _stated((document, *keys), under), spell(number, form))
        )

    def range(self, form: str, document: str, *keys: str | int, under: int = 0) -> Markup:
        """The two numbers of an interval, `low to high`, in one element that holds both values."""
        low, high = (as_number(self.value(document, *keys, place)) for place in (0, 1))
        if low is None or high is None:
            return NOTHING
        told = spell(low, form).removesuffix(f"{THIN}%"), spell(high, form)
        return _INTERVAL.format(low, high, _stated((document, *keys), under), *told)


def place(document: str, *keys: str | int) -> str:
    """Where in the run a figure stands, such as evaluation.json#/best/all_items."""
    return f"{document}.json#{pointer(*keys)}"


def _stated(keys: tuple[str | int, ...], under: int) -> Markup:
    """The attribute that tells where a figure comes from, whole or, as data-at, below what is stated around it."""
    if under:
        return Markup(' data-at="{}"').format(pointer(*keys[under:]))
    return Markup(' data-json="{}"').format(place(str(keys[0]), *keys[1:]))


_DATA = Markup('<data value="{}"{}>{}</data>')
_INTERVAL = Markup('<span data-low="{}" data-high="{}"{}>{} to {}</span>')


def shown(value: Any, form: str) -> Markup:
    """A number that stands in no JSON document, in the same kind of element."""
    number = as_number(value)
    return NOTHING if number is None else _DATA.format(number, "", spell(number, form))
