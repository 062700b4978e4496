"""Which charts the report has of the evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from recsys_spark.evaluation.protocols import ALL_ITEMS, FIRST_PURCHASE
from recsys_spark.evaluation.ranking_metrics import HEADLINE
from recsys_spark.evaluation.segments import OTHER
from recsys_spark.report import plots
from recsys_spark.report.numbers import spell
from recsys_spark.report.plot_parts import Estimate
from recsys_spark.report.plots import Point
from recsys_spark.report.svg import Chart
from recsys_spark.report.words import CAUSES, FAMILIES, PROTOCOLS, SEGMENTS, family_of, model_name

_SERIES = {family: number for number, family in enumerate(FAMILIES)}
_percent, _points = partial(spell, form="percent"), partial(spell, form="points")


def ordered_models(evaluation: Mapping[str, Any], protocol: str, split: str = "test") -> list[str]:
    """Names of the models, the best by Recall@20 first, then by name; the sentinel comes last."""
    models = evaluation["split"][split]["protocols"][protocol]["models"]

    def place(model: str) -> tuple[bool, float, str]:
        return family_of(model) == "sentinel", -(_headline(models[model]) or 0.0), model

    return sorted(models, key=place)


def evaluation_charts(evaluation: Mapping[str, Any]) -> list[Chart]:
    """Recall@20 of every model, differences, segments, lost products, coverage against accuracy."""
    charts = []
    for protocol, (title, _) in PROTOCOLS.items():
        charts.append(_recall_chart(evaluation, protocol, title))
    for protocol in (ALL_ITEMS, FIRST_PURCHASE):
        found = evaluation["split"]["test"]["protocols"][protocol]
        title = PROTOCOLS[protocol][0]
        order = ordered_models(evaluation, protocol)
        charts += _difference_chart(found, protocol, title, order)
        charts += _waterfall_chart(found, protocol, title, order)
        charts += _coverage_chart(found, protocol, title, order)
        charts += _segment_charts(evaluation, protocol, title)
    return charts


def _recall_chart(evaluation: Mapping[str, Any], protocol: str, title: str) -> Chart:
    rows: dict[str, list[Estimate]] = {}
    for model in ordered_models(evaluation, protocol):
        series = _SERIES[family_of(model)]
        both = (
            _estimate(evaluation["split"][split]["protocols"][protocol]["models"][model], series, split == "val")
            for split in ("test", "val")
        )
        rows[model_name(model)] = [one for one in both if one]
    legend = _families(ordered_models(evaluation, protocol))
    legend["validation"] = Estimate(0, 0, 0, 0, is_open=True)
    return plots.intervals(f"recall-{protocol}", f"{title}: Recall@20 with 95 % interval", rows, _percent, legend)


def _difference_chart(found: Mapping[str, Any], protocol: str, title: str, order: Iterable[str]) -> list[Chart]:
    rows = {}
    for model in order:
        one = (found["models"][model].get("difference") or {}).get(HEADLINE.section, {}).get(HEADLINE.label)
        told = one and _with_interval(one["estimate"], one["interval"], _SERIES[family_of(model)])
        if told:
            rows[model_name(model)] = [told]
    against = model_name(found["reference"])
    title = f"{title}: Recall@20 above or below {against}, in points"
    return [plots.intervals(f"difference-{protocol}", title, rows, _points, {}, zero=True)] if rows else []


def _waterfall_chart(found: Mapping[str, Any], protocol: str, title: str, order: Iterable[str]) -> list[Chart]:
    total = found["num_positives"]
    told = [model for model in order if found["models"][model].get("waterfall")]
    if not told or not total:
        return []
    falls = [found["models"][model]["waterfall"] for model in told]
    parts = {"found in the top 20": [fall["hits"] / total for fall in falls]}
    for cause, word in CAUSES.items():
        values = [fall["causes"].get(cause, 0) / total for fall in falls]
        parts[word] = values
    title = f"{title}: what became of each product bought"
    return [plots.stacked(f"losses-{protocol}", title, [model_name(model) for model in told], parts, _percent)]


def _coverage_chart(found: Mapping[str, Any], protocol: str, title: str, order: Iterable[str]) -> list[Chart]:
    points = []
    for model in order:
        means = found["models"][model]
        covered, recall = (means.get("lists") or {}).get("coverage@20"), _headline(means)
        if covered is not None and recall is not None:
            points.append(Point(model_name(model), covered, recall, _SERIES[family_of(model)]))
    title, axis = f"{title}: coverage against accuracy", ("share of the catalogue listed", "Recall@20")
    families = list(FAMILIES.values())
    return [plots.scatter(f"coverage-{protocol}", title, points, axis, families, _percent)] if points else []


def _segment_charts(evaluation: Mapping[str, Any], protocol: str, title: str) -> list[Chart]:
    """The best model and the best single one in every segment."""
    found = evaluation["split"]["test"]["protocols"][protocol]["segments"]
    pair = list(dict.fromkeys((evaluation["best"][protocol], evaluation["best_single"][protocol])))
    legend = {model_name(model): Estimate(0, 0, 0, number) for number, model in enumerate(pair)}
    charts = []
    for segment, (word, names) in SEGMENTS.items():
        rows = {}
        for value in segment_order(found.get(segment, {}), names):
            models = found[segment][value]["models"]
            both = (_segment_estimate(models.get(model), number) for number, model in enumerate(pair))
            rows[names.get(value, value)] = [one for one in both if one]
        if len([estimates for estimates in rows.values() if estimates]) > 1:
            name = f"segment-{segment}-{protocol}"
            charts.append(plots.intervals(name, f"{title}: Recall@20 by {word.lower()}", rows, _percent, legend))
    return charts


def segment_order(values: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Values of a segment in the order of their names, else by number of positives; the rest, OTHER, comes last."""
    known = list(names)
    return sorted(
        values,
        key=lambda value: (
            value == OTHER,
            known.index(value) if value in known else len(known),
            -values[value]["num_positives"],
            value,
        ),
    )


def _families(models: Iterable[str]) -> dict[str, Estimate]:
    occurring = {family_of(model) for model in models}
    return {word: Estimate(0, 0, 0, _SERIES[family]) for family, word in FAMILIES.items() if family in occurring}


def _estimate(means: Mapping[str, Any], series: int, is_open: bool) -> Estimate | None:
    intervals = means.get("intervals", {}).get(HEADLINE.section, {})
    return _with_interval(_headline(means), intervals.get(HEADLINE.label), series, is_open)


def _segment_estimate(means: Mapping[str, Any] | None, series: int) -> Estimate | None:
    found = means or {}
    return _with_interval(found.get(HEADLINE.label), found.get("intervals", {}).get(HEADLINE.label), series)


def _with_interval(
    value: float | None, interval: Sequence[float] | None, series: int, is_open: bool = False
) -> Estimate | None:
    """None where nothing was measured; a value without an interval has none drawn."""
    if value is None:
        return None
    low, high = interval or (value, value)
    return Estimate(value, low, high, series, is_open)


def _headline(means: Mapping[str, Any]) -> float | None:
    value: float | None = means[HEADLINE.section][HEADLINE.label]
    return value
