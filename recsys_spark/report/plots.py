"""The kinds of chart that the report uses. Each says in words what it shows, for those who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import FuncFormatter, MaxNLocator

from recsys_spark.report.plot_parts import (
    MARKERS,
    Estimate,
    Spell,
    cut,
    mark_of,
    name_rows,
    set_value_axis,
    told_values,
)
from recsys_spark.report.svg import MUTED, SERIES, SURFACE, Chart, chart_of, drawing

ROW = 22  # height of one line of a chart with names at its left
_NAME_HEIGHT = 0.062  # of a name beside a scatter plot, as a share of its field


@dataclass(frozen=True)
class Point:
    """One mark of a scatter plot."""

    label: str
    x: float
    y: float
    series: int


def bars(name: str, title: str, values: Mapping[str, float], spell: Spell, description: str = "") -> Chart:
    """One horizontal bar a name, in the order given, with its value written behind it."""
    labels, numbers = list(values), list(values.values())
    with drawing(ROW * len(labels) + 20) as (figure, (axes,)):
        axes.barh(range(len(labels)), numbers, height=0.62, color=SERIES[0])
        for place, number in enumerate(numbers):
            axes.annotate(spell(number), (max(number, 0), place), (4, 0), textcoords="offset points", va="center")
        axes.set_xlim(right=max([*numbers, 0]) * 1.28 or 1)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        name_rows(axes, labels)
        return chart_of(figure, name, title, description or told_values(values, spell))


def paired_bars(
    name: str, title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], spell: Spell
) -> Chart:
    """Upright bars side by side at each label, one colour a series."""
    width = 0.8 / len(series)
    with drawing(230) as (figure, (axes,)):
        for number, (word, values) in enumerate(series.items()):
            places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(labels))]
            axes.bar(places, values, width=width * 0.92, color=SERIES[number], label=word)
        axes.set_xticks(
            range(len(labels)),
            labels,
            rotation=45 if len(labels) > 6 else 0,
            ha="right" if len(labels) > 6 else "center",
        )
        set_value_axis(axes.yaxis, spell)
        axes.grid(axis="y")
        if len(series) > 1:
            figure.legend(loc="outside upper left", ncols=2)
        told = (
            f"{word}: {told_values(dict(zip(labels, values, strict=True)), spell)}" for word, values in series.items()
        )
        return chart_of(figure, name, title, " ".join(told))


def over_time(
    name: str,
    title: str,
    edges: Sequence[float],
    values: Sequence[float],
    cuts: Mapping[str, float],
    spell: Spell,
    date: Spell,
) -> Chart:
    """A filled line over days, with a dashed line at each cut. edges, cuts: days since 1970.

    edges: where each value begins, and where the last one ends.
    """
    heights = [*values, values[-1]]  # the last step too is as wide as its period
    with drawing(190) as (figure, (axes,)):
        axes.fill_between(edges, heights, step="post", color=SERIES[0], alpha=0.25, linewidth=0)
        axes.step(edges, heights, where="post", color=SERIES[0], linewidth=1.6)
        for word, day in cuts.items():
            axes.axvline(day, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
            axes.annotate(
                word,
                (day, 1),
                (-3, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="right",
                va="top",
                rotation=90,
                fontsize=10,
                color=MUTED,
            )
        axes.set_ylim(0, max(values, default=1) * 1.5 or 1)  # room for the names of the cuts
        set_value_axis(axes.yaxis, spell)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda day, _: date(day)))
        axes.grid(axis="y")
        told = f"From {date(edges[0])} to {date(edges[-2])}, between {spell(min(values))} and {spell(max(values))}."
        return chart_of(figure, name, title, told)


def spans(name: str, title: str, parts: Mapping[str, tuple[float, float]], date: Spell) -> Chart:
    """Stretches of one time line, one after the other. parts: first and last day of each, since 1970."""
    first, last = min(start for start, _ in parts.values()), max(end for _, end in parts.values())
    with drawing(ROW * len(parts) + 46) as (figure, (axes,)):
        for place, (start, end) in enumerate(parts.values()):
            axes.barh(place, end - start, left=start, height=0.62, color=SERIES[place % len(SERIES)])
        name_rows(axes, list(parts))
        axes.set_xlim(first, last)
        axes.set_xticks([first, *(end for _, end in parts.values())])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda day, _: date(day)))
        axes.tick_params(axis="x", rotation=45)
        axes.grid(axis="x")
        told = "; ".join(f"{word}: {date(start)} to {date(end)}" for word, (start, end) in parts.items())
        return chart_of(figure, name, title, told + ".")


def intervals(
    name: str,
    title: str,
    rows: Mapping[str, Sequence[Estimate]],
    spell: Spell,
    legend: Mapping[str, Estimate],
    zero: bool = False,
) -> Chart:
    """A mark with a line for its interval on each row. legend: words for kinds of mark. zero: a line at 0."""
    height = ROW * len(rows) + 34 + (18 * ((len(legend) + 1) // 2))
    with drawing(height) as (figure, (axes,)):
        if zero:
            axes.axvline(0, color=MUTED, linewidth=1)
        for place, estimates in enumerate(rows.values()):
            for number, one in enumerate(estimates):
                shift = (number - (len(estimates) - 1) / 2) * 0.3
                axes.hlines(place + shift, one.low, one.high, color=SERIES[one.series], linewidth=2)
                axes.plot([one.value], [place + shift], linestyle="none", **mark_of(one))
        for word, kind in legend.items():
            axes.plot([], [], linestyle="none", label=word, **mark_of(kind))
        name_rows(axes, list(rows))
        if not zero:
            axes.set_xlim(left=-0.025 * max([one.high for found in rows.values() for one in found] or [1]))
        set_value_axis(axes.xaxis, spell)
        axes.grid(axis="x")
        if legend:
            figure.legend(loc="outside upper left", ncols=2)
        told = (f"{word} {' / '.join(spell(one.value) for one in found)}" for word, found in rows.items() if found)
        return chart_of(figure, name, title, "; ".join(told) + ".")


def stacked(name: str, title: str, rows: Sequence[str], parts: Mapping[str, Sequence[float]], spell: Spell) -> Chart:
    """One bar a row, made of parts that add up. parts: a value for each row."""
    with drawing(ROW * len(rows) + 34 + 18 * ((len(parts) + 1) // 2)) as (figure, (axes,)):
        left = [0.0] * len(rows)
        for number, (word, values) in enumerate(parts.items()):
            axes.barh(
                range(len(rows)),
                values,
                left=left,
                height=0.66,
                color=SERIES[number],
                label=word,
                edgecolor=SURFACE,
                linewidth=0.8,
            )
            left = [start + value for start, value in zip(left, values, strict=True)]
        name_rows(axes, list(rows))
        set_value_axis(axes.xaxis, spell)
        figure.legend(loc="outside upper left", ncols=2)
        told = (
            f"{row}: " + ", ".join(f"{word} {spell(values[place])}" for word, values in parts.items())
            for place, row in enumerate(rows)
        )
        return chart_of(figure, name, title, "; ".join(told) + ".")


def scatter(
    name: str, title: str, points: Sequence[Point], axis: tuple[str, str], families: Sequence[str], spell: Spell
) -> Chart:
    """Marks whose names stand at the right, each with a line to its mark. axis: what x and y are.

    families: words for the series.
    """
    with drawing(340) as (figure, (axes,)):
        for number in sorted({point.series for point in points}):
            axes.plot([], [], linestyle="none", label=families[number], **mark_of(Estimate(0, 0, 0, number)))
        limits = (max(point.x for point in points) * 1.04 or 1, max(point.y for point in points) * 1.1 or 1)
        axes.set_xlim(0, limits[0])
        axes.set_ylim(0, limits[1])
        for point, height in _spread([(point, point.y / limits[1]) for point in points]):
            mark = mark_of(Estimate(0, 0, 0, point.series))
            axes.plot([point.x], [point.y], linestyle="none", clip_on=False, zorder=3, **mark)
            axes.annotate(
                cut(point.label),
                (point.x, point.y),
                (1.05, height),
                textcoords="axes fraction",
                fontsize=11,
                va="center",
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "relpos": (0, 0.5)},
            )
        axes.set_xlabel(axis[0])
        axes.set_ylabel(axis[1])
        set_value_axis(axes.xaxis, spell)
        set_value_axis(axes.yaxis, spell)
        axes.grid()
        figure.legend(loc="outside upper left", ncols=2)
        told = (f"{point.label}: {axis[0]} {spell(point.x)}, {axis[1]} {spell(point.y)}" for point in points)
        return chart_of(figure, name, title, "; ".join(told) + ".")


def _spread(points: Sequence[tuple[Point, float]]) -> list[tuple[Point, float]]:
    """Each point with the height of its name, near its own and apart from its neighbours; heights are shares."""
    ordered = sorted(points, key=lambda pair: (-pair[1], pair[0].label))
    heights = [height for _, height in ordered]
    for place in range(1, len(heights)):
        heights[place] = min(heights[place], heights[place - 1] - _NAME_HEIGHT)
    lowest = 0.0
    for place in reversed(range(len(heights))):
        heights[place] = max(heights[place], lowest)
        lowest = heights[place] + _NAME_HEIGHT
    return [(point, height) for (point, _), height in zip(ordered, heights, strict=True)]


def curves(
    name: str,
    title: str,
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    spell: Spell,
    across: str = "epoch",
) -> Chart:
    """Lines over epochs or what else goes `across`, panel below panel: axis name -> line name -> (epoch, value)."""
    words = list(dict.fromkeys(word for lines in panels.values() for word in lines))
    with drawing(150 * len(panels) + 20 * ((len(words) + 1) // 2), rows=len(panels)) as (figure, all_axes):
        for axes, (label, lines) in zip(all_axes, panels.items(), strict=True):
            for word, points in lines.items():
                number = words.index(word) % len(SERIES)
                epochs, values = zip(*points, strict=True)
                axes.plot(epochs, values, color=SERIES[number], marker=MARKERS[number], markersize=5, linewidth=1.6)
            axes.set_ylabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=across == "epoch", nbins=6))
            set_value_axis(axes.yaxis, spell)
            axes.grid()
        all_axes[-1].set_xlabel(across)
        for number, word in enumerate(words):
            place = number % len(SERIES)
            all_axes[0].plot([], [], color=SERIES[place], marker=MARKERS[place], markersize=5, label=word)
        figure.legend(loc="outside upper left", ncols=2)
        told = (
            f"{label}, {word}: {spell(points[0][1])} at {across} {points[0][0]:.3g}, {spell(points[-1][1])} at the end"
            for label, lines in panels.items()
            for word, points in lines.items()
        )
        return chart_of(figure, name, title, "; ".join(told) + ".")
