"""drift.html: drift.json for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined

from recsys_spark.monitoring.measures import DRIFTED, INFO, NOT_MEASURED, OK
from recsys_spark.monitoring.plots import plot_of
from recsys_spark.monitoring.template import PAGE
from recsys_spark.paths import filesystem
from recsys_spark.plurals import counted

_SHOWN = 12  # measures of a group that stand open, those with an alarm and then the nearest to one
_PLOTS = 6  # of a group
WORDS = {DRIFTED: "drift", OK: "ok", INFO: "told", NOT_MEASURED: "not measured"}
_GROUPS = {  # in the order of the page
    "lines": ("Purchases", "Quantities, prices, money, lines per customer and day, categories and weekdays."),
    "unknown": (
        "Unknown ids",
        "Customers that no list was made for, and products that no list can hold.",
    ),
    "features": (
        "What the ranker sees",
        "Each feature of the test candidates: stability index (psi) and share of rows without a value.",
    ),
    "embeddings": (
        "Vectors of the towers",
        "After the best common rotation, which changes no score; neighbours know no rotation.",
    ),
    "scores": ("Scores", "Whether a score still means the same chance of a purchase."),
    "lists": ("Lists", "How much of the catalogue is listed, how evenly, and how much of a customer's list stayed."),
    "metrics": (
        "Metrics",
        "Losses of the best models on test, over what they were; an alarm needs an interval below 0 as well.",
    ),
    "money": ("Money", "Share of what was bought that stood in the lists, and beside the popularity list."),
}


def page(document: Mapping[str, Any]) -> str:
    """The page as text. document: all of drift.json."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    measures = document["measures"]
    alarms = [measure for measure in measures if measure["verdict"] == DRIFTED]
    measured = sum(measure["verdict"] != NOT_MEASURED for measure in measures)
    state = "drift" if alarms else "ok" if measured else NOT_MEASURED
    lacking = len(measures) - measured
    headline = f"{len(alarms)} of {measured} measures passed their threshold." if measured else "Nothing was measured."
    headline += f" {lacking} could not be measured; the page says why." if lacking and measured else ""
    named = [{**measure, "name": f"{measure['group']}.{measure['name']}"} for measure in alarms]
    return environment.from_string(PAGE).render(
        run=document["run"],
        against=document["against"],
        new_lines=document["new_lines"],
        state=state,
        headline=headline,
        alarms=named,
        groups=[_group(name, measures) for name in _GROUPS if any(measure["group"] == name for measure in measures)],
        what_differs=_differences(document["what_differs"]),
        words=WORDS,
        counted=counted,
        number=_number,
    )


def write_page(document: Mapping[str, Any], path: str) -> None:
    """Write the page to a path of any file system."""
    fs, plain = filesystem(path)
    with fs.open(plain, "wb") as file:
        file.write(page(document).encode())


def _group(name: str, measures: list[dict[str, Any]]) -> dict[str, Any]:
    own = sorted((measure for measure in measures if measure["group"] == name), key=_nearness, reverse=True)
    plots = [plot for measure in own if (plot := plot_of(measure)) is not None]
    title, meaning = _GROUPS[name]
    return {"title": title, "meaning": meaning, "shown": own[:_SHOWN], "rest": own[_SHOWN:], "plots": plots[:_PLOTS]}


def _nearness(measure: Mapping[str, Any]) -> tuple[bool, bool, float]:
    """Alarms first, then what is nearest to one."""
    value, threshold = measure["value"], measure["threshold"]
    if value is None or threshold is None:
        return False, measure["verdict"] == NOT_MEASURED, 0.0
    ratio = value / threshold if measure["alarm"] == "above" else threshold / max(value, 1e-9)
    return measure["verdict"] == DRIFTED, False, ratio if threshold > 0 else 0.0


def _differences(what_differs: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (f"{kind}: {name}", str(pair[0]), str(pair[1]))
        for kind, pairs in what_differs.items()
        for name, pair in pairs.items()
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
