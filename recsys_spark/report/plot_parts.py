"""What charts have in common: marks, names at the left, and axes that spell their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator

from recsys_spark.report.svg import INK, SERIES, SURFACE

MARKERS = ("o", "s", "D", "^", "v")
LONGEST_NAME = 24
Spell = Callable[[float], str]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; series: which colour and marker it has, is_open: drawn as an outline."""

    value: float
    low: float
    high: float
    series: int = 0
    is_open: bool = False


def mark_of(one: Estimate) -> dict[str, Any]:
    colour = SERIES[one.series]
    face = SURFACE if one.is_open else colour
    return {"marker": MARKERS[one.series], "color": colour, "markerfacecolor": face, "markersize": 6.5}


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Rows from above, with names at their left."""
    axes.set_yticks(range(len(labels)), [cut(label) for label in labels], color=INK)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def set_value_axis(axis: Axis, spell: Spell) -> None:
    axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(spell(value))))
    axis.set_tick_params(length=0, pad=6)


def short(number: str) -> str:
    """Without zeros behind the point.

    >>> short("10.0 %"), short("0.00"), short("+0.25"), short("1,200")
    ('10 %', '0', '+0.25', '1,200')
    """
    return re.sub(r"\.0+(?!\d)", "", number)


def cut(label: str) -> str:
    return label if len(label) <= LONGEST_NAME else label[: LONGEST_NAME - 1] + "…"


def told_values(values: Mapping[str, float], spell: Spell) -> str:
    return "; ".join(f"{label} {spell(value)}" for label, value in values.items()) + "."
