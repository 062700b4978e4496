"""Which charts the report has of data, training, sources and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.report import plots
from recsys_spark.report.data_facts import next_start
from recsys_spark.report.numbers import spell
from recsys_spark.report.plot_parts import Estimate
from recsys_spark.report.svg import Chart
from recsys_spark.report.words import PROTOCOLS, model_name

_FEATURES = 15  # that a chart of importance shows
_EPOCH = date(1970, 1, 1)
_percent, _count, _money = (partial(spell, form=form) for form in ("percent", "count", "money"))
CUTS = {"fold_end": "first part", "train_end": "second part", "val_end": "validation"}


def data_charts(facts: Mapping[str, Any], cutoffs: Mapping[str, str]) -> list[Chart]:
    """Sales over time with the cutoffs, the splits on a time line, and how products and customers are spread."""
    sales, word = facts["sales"], facts["period"]
    edges = [_day(start) for start in (*(e["start"] for e in sales), next_start(sales[-1]["start"], word))]
    cuts = {CUTS[name]: _day(time) for name, time in cutoffs.items() if name in CUTS}
    whole = (
        ("lines", f"Purchase lines per {word}", _count),
        ("money", f"Money per {word}", _money),
        ("customers", f"Customers per {word}", _count),
    )
    charts = [
        plots.over_time(f"time-{key}", title, edges, [entry[key] for entry in sales], cuts, form, _date)
        for key, title, form in whole
    ]
    bounds = [_day(facts["first"]), *cuts.values(), _day(facts["last"])]
    parts = dict(zip((*CUTS.values(), "test"), pairwise(bounds), strict=False))
    charts.append(plots.spans("splits", "The splits on a time line", parts, _date))
    return [*charts, *_spread_charts(facts)]


def _spread_charts(facts: Mapping[str, Any]) -> list[Chart]:
    titles = {
        "items_by_lines": ("Products by number of purchases", "products", "purchases"),
        "customers_by_orders": ("Customers by number of orders", "customers", "purchases"),
        "customers_by_items": ("Customers by number of products", "customers", "purchases"),
        "customers_by_money": ("Customers by money", "customers", "purchases"),
    }
    charts = []
    for key, (title, members, lines) in titles.items():
        steps = facts[key]
        if steps:
            labels = [step_name(step) for step in steps]
            series = {f"share of {members}": _shares(steps, "members"), f"share of {lines}": _shares(steps, "lines")}
            charts.append(plots.paired_bars(key.replace("_", "-"), title, labels, series, _percent))
    return charts


def step_name(step: Mapping[str, float]) -> str:
    """The sizes that a step holds.

    >>> [step_name({"low": low, "high": high}) for low, high in ((1.0, 2.0), (2000.0, 5000.0), (0.5, 1.0))]
    ['1', '2k+', '0.5+']
    """
    low, high = step["low"], step["high"]
    if (low, high) == (1, 2):
        return "1"
    return f"{low / 1e6:g}M+" if low >= 1e6 else f"{low / 1e3:g}k+" if low >= 1e3 else f"{low:g}+"


def _shares(steps: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    total = sum(step[key] for step in steps)
    return [step[key] / total for step in steps]


def training_charts(towers: Mapping[str, Any] | None, ranker: Mapping[str, Any] | None) -> list[Chart]:
    """Loss and, where it was measured, recall on the dev slice, by epoch."""
    charts = []
    for tower, found in ((towers or {}).get("towers") or {}).items():
        lines = {fit: one["curve"] for fit, one in found["trained"].items() if one.get("curve")}
        charts += _curve_chart(f"curve-tower-{tower}", f"{model_name('two_tower_' + tower)}: training", lines)
    lines = {}
    for fit, found in ((ranker or {}).get("trained") or {}).items():
        for number, member in enumerate(found.get("members", ()), start=1):
            lines[f"{fit}, member {number}"] = member.get("curve") or []
    charts += _curve_chart("curve-ranker", "Ranker: training", {word: curve for word, curve in lines.items() if curve})
    return charts


def _curve_chart(name: str, title: str, lines: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Chart]:
    panels = {}
    for key, label in (("loss", "loss"), ("recall@20", "dev Recall@20")):
        told = {
            word: [(entry["epoch"], entry[key]) for entry in curve if entry.get(key) is not None]
            for word, curve in lines.items()
        }
        told = {word: points for word, points in told.items() if points}
        if told:
            panels[label] = told
    return [plots.curves(name, title, panels, lambda value: f"{value:.3g}")] if panels else []


def source_charts(found: Mapping[str, Any] | None) -> list[Chart]:
    """What each source found and what it alone found, as shares of all that was bought."""
    if not found or not found["positives"]:
        return []
    used = {source: one for source, one in found["sources"].items() if one["proposed"]}
    parts = {
        "found by it alone": [one["alone"] / found["positives"] for one in used.values()],
        "found by others too": [(one["found"] - one["alone"]) / found["positives"] for one in used.values()],
    }
    names = [source.replace("_", " ") for source in used]
    return [
        plots.stacked("sources-chart", "Share of what was bought that each source proposed", names, parts, _percent)
    ]


def ranker_charts(ranker: Mapping[str, Any] | None) -> list[Chart]:
    """What the ranker leans on, the 15 most important features of each protocol; and what its odds are worth."""
    charts = []
    by_protocol: dict[str, dict[str, float]] = {}
    for row in (ranker or {}).get("importance") or ():
        by_protocol.setdefault(row["protocol"], {})[row["feature"]] = row["loss"]
    for protocol, losses in by_protocol.items():
        largest = dict(sorted(losses.items(), key=lambda pair: (-pair[1], pair[0]))[:_FEATURES])
        title = f"{PROTOCOLS[protocol][0]}: what NDCG@20 loses without a feature"
        charts.append(plots.bars(f"importance-{protocol}", title, largest, lambda value: f"{value:.3g}"))
    for protocol, found in ((ranker or {}).get("calibration") or {}).items():
        rows = found.get("table") or ()
        if len(rows) > 1:
            told = {
                "what was bought": [(row["probability"], row["bought"]) for row in rows],
                "if it were exact": [(row["probability"], row["probability"]) for row in rows],
            }
            title = f"{PROTOCOLS[protocol][0]}: chance told and share bought"
            charts.append(
                plots.curves(f"calibration-{protocol}", title, {"share bought": told}, _percent, "chance told")
            )
    return charts


def ablation_charts(found: Mapping[str, Any] | None) -> list[Chart]:
    """What Recall@20 of test loses without each part, with its interval."""
    charts = []
    for protocol in LIST_PROTOCOLS:
        rows = {}
        for variant, told in ((found or {}).get("split", {}).get("test") or {}).items():
            one = told.get(protocol, {}).get("recall@20")
            if one and variant != "whole" and None not in (one["difference"], *one["interval"]):
                rows[variant.replace("_", " ")] = [Estimate(one["difference"], *one["interval"])]
        if rows:
            title = f"{PROTOCOLS[protocol][0]}: Recall@20 without a part, in points"
            spelled = partial(spell, form="points")
            charts.append(plots.intervals(f"ablations-{protocol}", title, rows, spelled, {}, zero=True))
    return charts


def _day(time: str) -> float:
    return (datetime.fromisoformat(time) - datetime(1970, 1, 1)) / timedelta(days=1)


def _date(day: float) -> str:
    return f"{_EPOCH + timedelta(days=int(day)):%d %b %y}".lstrip("0")
