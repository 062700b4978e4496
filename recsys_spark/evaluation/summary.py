"""Sums per customer -> the means of evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.evaluation.ranking_metrics import (
    HEADLINE,
    METRICS,
    MONEY,
    PER_BASKET,
    PER_POSITIVE,
    SECTIONS,
    metric_of,
)
from recsys_spark.evaluation.sums import TOTALS

DIGITS = 12  # sums of doubles differ beyond these with the partitioning
DENOMINATOR = {PER_POSITIVE: "num_positives", PER_BASKET: "num_queries", MONEY: "total_amount"}


def protocol_results(hits: DataFrame, totals: DataFrame, models: Sequence[str]) -> dict[str, Any]:
    """Counts and the means of every model, by protocol.

    hits: customer_hits; totals: customer_totals. A model without a hit scores 0; a mean over nothing is null.
    """
    hit_sums = _grand_sums(hits, ("model", "protocol"), [metric.column for metric in METRICS])
    total_sums = _grand_sums(totals, ("protocol",), TOTALS)
    results: dict[str, Any] = {}
    for protocol in LIST_PROTOCOLS:
        total = total_sums.get((protocol,), dict.fromkeys(TOTALS, 0))
        results[protocol] = {
            "num_positives": int(total["num_positives"]),
            "num_queries": int(total["num_queries"]),
            "models": {model: _means(hit_sums.get((model, protocol), {}), total) for model in models},
        }
    return results


def shares(facts: DataFrame) -> dict[str, float | None]:
    """Shares of all positives and queries that say how hard a split is."""
    everything = facts.filter(F.col("protocol") == LIST_PROTOCOLS[0])
    queries = everything.select("query_id", "is_cold_customer").distinct()
    positives = _share_of(everything, "is_cold_customer", "is_cold_item", "is_repeat")
    return {
        "queries_of_cold_customers": _share_of(queries, "is_cold_customer")["is_cold_customer"],
        "positives_of_cold_customers": positives["is_cold_customer"],
        "positives_with_cold_items": positives["is_cold_item"],
        "repeat_positives": positives["is_repeat"],
    }


def choose_best(val: Mapping[str, Any], models: Sequence[str]) -> dict[str, str]:
    """The model with the highest Recall@20 of each protocol; the first named wins a tie.

    val: protocol_results of the val split.
    """
    return {
        protocol: max(models, key=lambda model: metric_of(result["models"][model], HEADLINE) or 0.0)
        for protocol, result in val.items()
    }


def ratio(numerator: float, denominator: float) -> float | None:
    """Rounded quotient, null where there is nothing to divide by."""
    return round(numerator / denominator, DIGITS) if denominator else None


def _means(hit: Mapping[str, float], total: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    means: dict[str, dict[str, float | None]] = {section: {} for section in SECTIONS}
    for metric in METRICS:
        means[metric.section][metric.label] = ratio(hit.get(metric.column, 0.0), total[DENOMINATOR[metric.section]])
    return means


def _grand_sums(
    frame: DataFrame, keys: Sequence[str], columns: Sequence[str]
) -> dict[tuple[str, ...], dict[str, float]]:
    summed = frame.groupBy(*keys).agg(*(F.sum(column).alias(column) for column in columns)).collect()
    return {tuple(row[key] for key in keys): {column: row[column] for column in columns} for row in summed}


def _share_of(frame: DataFrame, *flags: str) -> dict[str, float | None]:
    counts = frame.agg(F.count(F.lit(1)).alias("rows"), *(F.count_if(flag).alias(flag) for flag in flags)).first()
    assert counts is not None  # an aggregate without keys has one row
    return {flag: ratio(counts[flag], counts["rows"]) for flag in flags}
