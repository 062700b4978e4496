"""Small plots as plain shapes, which the page's template draws as SVG; coordinates are in pixels from the top left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 460, 150
_LEFT, _BOTTOM, _TOP, _RIGHT = 44, 26, 8, 14
_MAX_TICKS = 5  # labels below a plot


@dataclass(frozen=True)
class Bar:
    """A rectangle of a series, with the words that show when the mouse rests on it."""

    series: int
    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class Plot:
    """series: names, in the order of their colours; scale: (y, text) of marks at the left; ticks: (x, text) below."""

    title: str
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    scale: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT


def plot_of(measure: Mapping[str, Any]) -> Plot | None:
    """The plot of a measure (of drift.json) whose detail holds one."""
    name, detail = f"{measure['group']}.{measure['name']}", measure["detail"]
    if "bins" in detail:
        series = {"reference": detail["reference"], "current": detail["current"]}
        return grouped_bars(f"{name}: share of the rows", detail["bins"], series)
    if "predicted" in detail:
        labels = [str(number) for number in range(1, len(detail["predicted"]) + 1)]
        series = {"predicted": detail["predicted"], "bought": detail["bought"]}
        return grouped_bars(f"{name}: share of candidates bought, by bin of rising score", labels, series)
    if "weeks" in detail:
        return _weeks(name, detail["weeks"])
    if "categories" in detail:
        changes = detail["categories"]
        return grouped_bars(
            f"{name}: size of the mean log price change", list(changes), {"change": list(map(abs, changes.values()))}
        )
    return None


def _weeks(name: str, by_side: Mapping[str, Sequence[Mapping[str, Any]]]) -> Plot:
    """Shares captured by week: of both runs, or of one beside the popularity list."""
    weeks = sorted({week["week"] for side in by_side.values() for week in side})
    wanted = [(side, "captured", side) for side in by_side]
    if len(by_side) == 1:
        (side,) = by_side
        wanted = [(side, "captured", "lists"), (side, "popular", "popularity")]
    series = {}
    for side, kind, label in wanted:
        found = {week["week"]: week[kind] for week in by_side[side]}
        series[label] = [found.get(week, 0.0) for week in weeks]
    return grouped_bars(f"{name}: share of the money in the lists, by week", weeks, series)


def grouped_bars(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> Plot:
    """Bars side by side, one group for each label."""
    top = max([1e-9, *(value for values in series.values() for value in values)])
    inner_height = HEIGHT - _TOP - _BOTTOM
    step = (WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)
    width = step * 0.8 / len(series)
    bars = [
        Bar(
            number,
            round(_LEFT + step * (place + 0.1) + width * number, 2),
            round(_TOP + inner_height * (1 - value / top), 2),
            round(width, 2),
            round(inner_height * value / top, 2),
            f"{labels[place]}, {name}: {value:.4g}",
        )
        for number, (name, values) in enumerate(series.items())
        for place, value in enumerate(values)
    ]
    every = -(-len(labels) // _MAX_TICKS)
    ticks = [(round(_LEFT + step * (place + 0.5), 2), labels[place]) for place in range(0, len(labels), max(every, 1))]
    scale = ((float(_TOP), f"{top:.3g}"), (float(HEIGHT - _BOTTOM), "0"))
    return Plot(title, tuple(series), tuple(bars), scale, tuple(ticks))
