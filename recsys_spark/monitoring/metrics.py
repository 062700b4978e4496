"""Whether the best models' metrics on test fell from one run to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    EVALUATION,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    SEQUENCES,
)
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.evaluation.compare import compare_runs
from recsys_spark.evaluation.ranking_metrics import HEADLINE, MONEY, PER_POSITIVE, Metric, metric_of
from recsys_spark.monitoring.measures import Measure, above, certain, not_measured
from recsys_spark.monitoring.runs import SeenRun, lacks

GROUP = "metrics"
WATCHED = (HEADLINE, Metric(PER_POSITIVE, "ndcg", HEADLINE.k), Metric(MONEY, "recall", HEADLINE.k))


def metric_measures(
    reference: SeenRun, current: SeenRun, config: MonitorConfig, evaluation: EvaluationConfig, seed: int
) -> tuple[list[Measure], dict[str, Any]]:
    """Losses of the watched metrics, and what about the making of both runs differs.

    On the positives that both runs share, paired, as `recsys compare` does; where they share none, from both
    evaluations, whose intervals then have to part.
    """
    if not (reference.has(EVALUATION) and current.has(EVALUATION)):
        return [not_measured(GROUP, "recall", "one of the runs was not evaluated")], {}
    lacking = lacks(reference, current, CUSTOMER_ID_MAP, ITEM_ID_MAP, INTERACTIONS_CLEAN)
    lacking = lacking or lacks(reference, current, SEQUENCES, split="test")
    if lacking:
        return [not_measured(GROUP, "recall", lacking)], {}
    try:
        comparison = compare_runs(reference, current, evaluation, seed)
    except DataError:  # the runs have no test positive in common
        return unpaired(reference.evaluation(), current.evaluation(), config), {}
    shared = f"on {comparison['positives']['common']:,} common positives"
    found = []
    for protocol in LIST_PROTOCOLS:
        best = comparison["protocols"][protocol]["best"]
        for metric in WATCHED:
            one = best[metric.section][metric.label]
            interval = [one["estimate"], *one["interval"]]
            found.append(loss(protocol, metric, (one["first"], one["second"]), interval, shared, config))
    return found, comparison["what_differs"]


def loss(
    protocol: str,
    metric: Metric,
    values: tuple[float | None, float | None],
    change: list[float | None],
    where: str,
    config: MonitorConfig,
) -> Measure:
    """The loss of one metric over what it was. change: second minus first, with the bounds of its interval."""
    name = f"{protocol}.{metric.section}.{metric.label}"
    first, second = values
    if not first or second is None or change[2] is None:
        return not_measured(GROUP, name, f"{name} has no value in one of the runs")
    sentence = f"{metric.label} ({metric.section}, {protocol}) was {first:.4f}, is {second:.4f} {where}"
    measure = above(
        GROUP,
        name,
        1 - second / first,
        config.thresholds.metric_drop,
        sentence,
        reference=first,
        current=second,
        change=change,
    )
    return certain(measure, change[2] < 0)


def unpaired(reference: Mapping[str, Any], current: Mapping[str, Any], config: MonitorConfig) -> list[Measure]:
    """Losses between two evaluations of different baskets: the change is certain where the intervals do not meet."""
    found = []
    for protocol in LIST_PROTOCOLS:
        models = [_best(evaluation, protocol) for evaluation in (reference, current)]
        for metric in WATCHED:
            values = tuple(metric_of(model, metric) for model in models)
            bounds = [model["intervals"][metric.section][metric.label] for model in models]
            first, second = values
            change: list[float | None] = [None, None, None]
            if first is not None and second is not None:
                change = [second - first, bounds[1][0] - bounds[0][1], bounds[1][1] - bounds[0][0]]
            found.append(loss(protocol, metric, (first, second), change, "on baskets of their own", config))
    return found


def _best(evaluation: Mapping[str, Any], protocol: str) -> Mapping[str, Any]:
    models: Mapping[str, Any] = evaluation["split"]["test"]["protocols"][protocol]["models"]
    return models[evaluation["best"][protocol]]
