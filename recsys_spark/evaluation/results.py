"""Sums and their replicates -> the means, intervals and differences of evaluation.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import SENTINEL
from recsys_spark.contracts.model_config import NEW_ITEMS
from recsys_spark.evaluation.diversity import DIVERSITY_K
from recsys_spark.evaluation.intervals import paired_differences, percentile_interval
from recsys_spark.evaluation.list_metrics import LIST_K
from recsys_spark.evaluation.protocols import ALL_ITEMS
from recsys_spark.evaluation.ranking_metrics import HEADLINE, METRICS, MONEY, PER_BASKET, PER_POSITIVE, Metric
from recsys_spark.evaluation.segments import SEGMENT_METRICS, SEPARATOR
from recsys_spark.evaluation.sums import Sums

DIGITS = 12  # of what is published: exact sums leave off what a value has beyond about these
DENOMINATOR = {PER_POSITIVE: "num_positives", PER_BASKET: "num_queries", MONEY: "total_amount"}
LISTS = "lists"
Name = tuple[str, str]  # section and label of one statistic


def choose_best(val: Sums, models: Sequence[str]) -> dict[str, str]:
    """The model with the highest Recall@20 of each list protocol; the first named wins a tie.

    The sentinel never does, nor what ranks new items alone.
    """
    candidates = [model for model in models if model not in (SENTINEL, NEW_ITEMS)] or list(models)
    return {
        protocol: max(candidates, key=lambda model: _tidy(mean(val, model, protocol, HEADLINE)[0]) or 0.0)
        for protocol in LIST_PROTOCOLS
    }


def mean(sums: Sums, model: str, protocol: str, metric: Metric) -> np.ndarray:
    """One mean, (1 + replicates,); NaN where there is nothing to average."""
    total = sums.get("totals", protocol, name=DENOMINATOR[metric.section])
    return quotient(sums.get("hits", model, protocol, name=metric.column), total)


def protocol_result(sums: Sums, protocol: str, models: Sequence[str], references: Mapping[str, str]) -> dict[str, Any]:
    """Counts, and every model's means, intervals and paired differences to a reference.

    references: the best single model by protocol; masked_seen, which chooses nothing, takes that of all_items.
    """
    reference = references.get(protocol, references[ALL_ITEMS])
    statistics = {model: _statistics(sums, model, protocol) for model in models}
    differences = _differences(statistics, reference)
    return {
        "num_positives": _count(sums.get("totals", protocol, name="num_positives")),
        "num_queries": _count(sums.get("totals", protocol, name="num_queries")),
        "reference": reference,
        "models": {
            model: {
                **_nested((name, _tidy(values[0])) for name, values in found.items()),
                "intervals": _nested((name, _interval(values)) for name, values in found.items()),
                "difference": _nested(differences[model].items()),
            }
            for model, found in statistics.items()
        },
        "segments": _segments(sums, protocol, models),
    }


def _statistics(sums: Sums, model: str, protocol: str) -> dict[Name, np.ndarray]:
    found = {(metric.section, metric.label): mean(sums, model, protocol, metric) for metric in METRICS}
    if protocol in LIST_PROTOCOLS:
        for k in LIST_K:
            bits = sums.get("lists", model, protocol, name=f"bits_{k}")
            found[LISTS, f"novelty@{k}"] = quotient(bits, sums.get("lists", model, protocol, name=f"entries_{k}"))
        diversity = sums.get("diversity", model, protocol, name="diversity")
        num_lists = sums.get("diversity", model, protocol, name="num_lists")
        found[LISTS, f"diversity@{DIVERSITY_K}"] = quotient(diversity, num_lists)
    return found


def _differences(statistics: Mapping[str, Mapping[Name, np.ndarray]], reference: str) -> dict[str, dict[Name, Any]]:
    differences: dict[str, dict[Name, Any]] = {model: {} for model in statistics}
    for name in statistics[reference]:
        estimates = {model: float(found[name][0]) for model, found in statistics.items()}
        replicates = {model: found[name][1:] for model, found in statistics.items()}
        for model, difference in paired_differences(estimates, replicates, reference).items():
            differences[model][name] = {key: plain(value) for key, value in asdict(difference).items()}
    return differences


def _segments(sums: Sums, protocol: str, models: Sequence[str]) -> dict[str, dict[str, Any]]:
    segments: dict[str, dict[str, Any]] = {}
    for segment in sums.segments(protocol):
        total = sums.get("segment_totals", protocol, segment, name="num_positives")
        found: dict[str, Any] = {"num_positives": _count(total), "models": {}}
        for model in models:
            means = {
                metric.label: quotient(sums.get("segment_hits", model, protocol, segment, name=metric.column), total)
                for metric in SEGMENT_METRICS
            }
            found["models"][model] = {
                **{label: _tidy(values[0]) for label, values in means.items()},
                "intervals": {label: _interval(values) for label, values in means.items()},
            }
        kind, value = segment.split(SEPARATOR, 1)
        segments.setdefault(kind, {})[value] = found
    return segments


def quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise, NaN where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator != 0)


def _nested(values: Iterable[tuple[Name, Any]]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for (section, label), value in values:
        sections.setdefault(section, {})[label] = value
    return sections


def _interval(values: np.ndarray) -> list[float | None]:
    return [_tidy(bound) for bound in percentile_interval(values[1:])]


def plain(value: Any) -> Any:
    """A number or a pair of bounds as JSON holds it."""
    return [_tidy(bound) for bound in value] if isinstance(value, tuple) else _tidy(value)


def _tidy(value: float) -> float | None:
    return round(float(value), DIGITS) if np.isfinite(value) else None


def _count(values: np.ndarray) -> int:
    return round(float(values[0]))
