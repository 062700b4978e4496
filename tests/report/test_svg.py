from __future__ import annotations

import doctest
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from recsys_spark.report import plots, svg
from recsys_spark.report.numbers import spell
from recsys_spark.report.plot_parts import Estimate
from recsys_spark.report.plots import Point

HOSTILE = '<img src=x onerror="a"> $x_1$ \x00\x01\x1b\ufffe& co'


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(svg).failed == 0


def percent(value):
    return spell(value, "percent")


def all_kinds(name):
    one = Estimate(0.2, 0.1, 0.3, 0)
    dates = {"first": 17000.0, "second": 17100.0}
    return [
        plots.bars(name, "Bars", {HOSTILE: 0.2, "b": 0.1, "أكواب": 0.0}, percent),
        plots.paired_bars(name, "Pairs", ["1", "2+"], {"x": [0.1, 0.9], "y": [0.5, 0.5]}, percent),
        plots.over_time(
            name, "Time", [17000.0, 17007.0, 17014.0, 17021.0], [3, 0, 9], dates, percent, lambda day: f"day {day:.0f}"
        ),
        plots.spans(name, "Spans", {"a": (17000.0, 17050.0), "b": (17050.0, 17080.0)}, lambda day: f"day {day:.0f}"),
        plots.intervals(name, "Intervals", {HOSTILE: [one, one], "none": []}, percent, {"word": one}),
        plots.intervals(name, "Differences", {"a": [Estimate(-0.1, -0.2, 0.1)]}, percent, {}, zero=True),
        plots.stacked(name, "Parts", ["a", "b"], {"x": [0.5, 0.0], "y": [0.5, 1.0]}, percent),
        plots.scatter(
            name, "Marks", [Point(HOSTILE, 0.1, 0.2, 0), Point("b", 0, 0, 1)], ("x", "y"), ["f", "g"], percent
        ),
        plots.curves(name, "Curves", {"loss": {"fit": [(1, 3.0), (2, 2.5)]}}, percent),
    ]


@pytest.fixture(scope="module")
def charts():
    return all_kinds("one")


def test_every_kind_of_chart_names_itself_and_says_what_it_shows(charts):
    for chart in charts:
        root = ElementTree.fromstring(chart.svg)
        title, description = root[0], root[1]
        assert root.get("role") == "img"
        assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert title.text == chart.title
        assert description.text == chart.description
        assert len(chart.description) > 8


def test_the_description_holds_the_numbers(charts):
    assert f"b 10.0{chr(0x202F)}%" in charts[0].description
    assert "9" in charts[2].description


def test_every_period_is_as_wide_as_it_lasts_the_last_one_too(charts):
    (line,) = re.findall(r'<path d="([^"]+)"[^>]*stroke: var\(--series-1\)', charts[2].svg)
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", line)]
    corners = sorted({x for x, _ in points})
    assert [after - before for before, after in pairwise(corners)] == pytest.approx([corners[1] - corners[0]] * 3)
    bottom = max(y for _, y in points)
    assert {x for x, y in points if y == bottom} == set(corners[1:3])  # the middle one is 0
    assert "between 0" in charts[2].description


def test_text_is_text_and_can_do_no_harm(charts):
    for chart in (charts[0], charts[4], charts[7]):
        assert "<img" not in chart.svg
        drawn = [element.text for element in ElementTree.fromstring(chart.svg).iter() if element.tag.endswith("text")]
        assert any(text and text.startswith("<img src=x") for text in drawn)
    assert "أكواب" in [element.text for element in ElementTree.fromstring(charts[0].svg).iter()]


def test_a_dollar_begins_no_formula():
    chart = plots.bars("money", "Money", {"$a_1$": 1.0}, percent)
    assert "$a_1$" in chart.svg


def test_colours_are_those_of_the_page_and_follow_its_scheme(charts):
    for chart in charts:
        colours = re.findall(r"(?:fill|stroke): ([^;\"]+)", chart.svg)
        assert colours
        assert {colour.strip() for colour in colours} - {"none"} <= {
            f"var(--{name})" for name in ("ink", "muted", "grid", "surface", *(f"series-{n}" for n in range(1, 6)))
        }


def test_a_drawing_names_no_font_no_style_of_its_own_and_nothing_outside(charts):
    for chart in charts:
        assert "font-family" not in chart.svg
        assert "<style" not in chart.svg
        assert set(re.findall(r"https?://[^\"<]+", chart.svg)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
        assert all(link.startswith("#one-") for link in re.findall(r'href="([^"]*)"', chart.svg))


def test_ids_of_two_charts_differ_and_links_point_at_them(charts):
    for ours, theirs in zip(charts, all_kinds("two"), strict=True):
        own, other = (set(re.findall(r' id="([^"]+)"', chart.svg)) for chart in (ours, theirs))
        assert own
        assert own.isdisjoint(other)
        links = set(re.findall(r'(?:href="#|url\(#)([^")]+)', ours.svg))
        assert links <= own


def test_the_same_values_make_the_same_drawing():
    assert [chart.svg for chart in all_kinds("same")] == [chart.svg for chart in all_kinds("same")]


def test_names_beside_marks_keep_apart_and_in_order():
    points = [(Point(f"m{n}", 0.1, 0.5, 0), 0.5 + n / 1000) for n in range(14)]
    heights = [height for _, height in plots._spread(points)]
    assert all(above - below >= plots._NAME_HEIGHT - 1e-9 for above, below in pairwise(heights))
    assert min(heights) >= 0
    alone = plots._spread([(Point("a", 0, 0, 0), 0.9), (Point("b", 0, 0, 0), 0.2)])
    assert [height for _, height in alone] == [0.9, 0.2]
