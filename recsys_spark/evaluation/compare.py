"""Two runs on the positives they share: paired differences per metric and segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts import artifacts
from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.evaluation.facts import customer_activity, hits, judged, positive_facts
from recsys_spark.evaluation.intervals import paired_differences
from recsys_spark.evaluation.protocols import ALL_ITEMS, PROTOCOLS
from recsys_spark.evaluation.ranking_metrics import METRICS
from recsys_spark.evaluation.results import mean, plain, quotient
from recsys_spark.evaluation.runs import Run, what_differs
from recsys_spark.evaluation.segments import SEGMENT_METRICS, SEPARATOR, with_segments
from recsys_spark.evaluation.summary import collect_sums, positive_cells
from recsys_spark.evaluation.sums import Sums

SPLIT, FIT = "test", "val"
_POSITIVE = ("customer_id", "event_time", "stock_code", "is_repeat")  # what a positive is called in every run
_ID = ("query_id", "pos_item_idx")  # what it is called within one
Pair = tuple[str, str]  # names of a model of the first and one of the second run


def compare_runs(first: Run, second: Run, config: EvaluationConfig, seed: int) -> dict[str, Any]:
    """Differences (second minus first) on test of every model that both runs have, and of their best models.

    The test of a run ends where that of its evaluation did. A positive is common where customer, time, item and its
    being a repeat agree; segments are the first run's. Raises DataError where no positive is common.
    """
    named_first, named_second = _named_positives(first), _named_positives(second)
    renamed = named_second.withColumnsRenamed({name: f"other_{name}" for name in _ID})
    common = named_first.join(renamed, on=list(_POSITIVE), how="inner").persist()
    positives = {"first": named_first.count(), "second": named_second.count(), "common": common.count()}
    if not positives["common"]:
        raise DataError("the runs have no test positive in common: no equal customer, time and stock code")
    facts = _common_facts(first, common, config).persist()
    ranks = {**_ranks_of_first(first), **_ranks_of_second(second, common)}
    sums = collect_sums(positive_cells(facts, hits(facts, ranks)), config.replicates, seed)
    best = first.evaluation()["best"], second.evaluation()["best"]
    shared = [model for model in first.models() if model in second.models()]
    protocols = {}
    for protocol in PROTOCOLS:
        pairs = {model: (f"first:{model}", f"second:{model}") for model in shared}
        best_first, best_second = (one.get(protocol, one[ALL_ITEMS]) for one in best)
        pairs["best"] = (f"first:{best_first}", f"second:{best_second}")
        protocols[protocol] = {name: _differences(sums, protocol, pair) for name, pair in pairs.items()}
    differs = what_differs(first.manifests(), second.manifests())
    return {"split": SPLIT, "positives": positives, "protocols": protocols, "what_differs": differs}


def _named_positives(run: Run) -> DataFrame:
    every = judged(run.table(artifacts.SEQUENCES, split=SPLIT), SPLIT, run.test_end())
    sequences = every.select(*_ID, "user_idx", "event_time", "is_repeat")
    items = run.table(artifacts.ITEM_ID_MAP).withColumnRenamed("item_idx", "pos_item_idx")
    customers = run.table(artifacts.CUSTOMER_ID_MAP)
    named = sequences.join(items, on="pos_item_idx", how="inner").join(customers, on="user_idx", how="inner")
    return named.select(*_ID, *_POSITIVE)


def _common_facts(first: Run, common: DataFrame, config: EvaluationConfig) -> DataFrame:
    cutoff = first.cutoffs()[f"{FIT}_end"]
    interactions, customers = first.table(artifacts.INTERACTIONS_CLEAN), first.table(artifacts.CUSTOMER_ID_MAP)
    sequences = first.table(artifacts.SEQUENCES, split=SPLIT).join(common.select(*_ID), on=list(_ID), how="left_semi")
    activity = customer_activity(interactions, customers, cutoff)
    facts = positive_facts(sequences, first.table(artifacts.ITEM_POPULARITY, fit=FIT), activity)
    return with_segments(facts, first.table(artifacts.ITEMS_CLEAN), config.max_categories)


def _ranks_of_first(run: Run) -> dict[str, DataFrame]:
    return {f"first:{m}": run.table(artifacts.POSITIVE_RANKS, model=m, split=SPLIT) for m in run.models()}


def _ranks_of_second(run: Run, common: DataFrame) -> dict[str, DataFrame]:
    """Ranks of the second run's models under the first run's ids."""
    ids = common.select(*_ID, *(f"other_{name}" for name in _ID))
    ranks = {}
    for model in run.models():
        own = run.table(artifacts.POSITIVE_RANKS, model=model, split=SPLIT).select(*_ID, "protocol", "rank")
        renamed = own.withColumnsRenamed({name: f"other_{name}" for name in _ID})
        found = renamed.filter(F.col("rank").isNotNull()).join(ids, on=[f"other_{name}" for name in _ID], how="inner")
        ranks[f"second:{model}"] = found
    return ranks


def _differences(sums: Sums, protocol: str, pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = {"first": pair[0].split(":", 1)[1], "second": pair[1].split(":", 1)[1]}
    for metric in METRICS:
        values = {model: mean(sums, model, protocol, metric) for model in pair}
        found.setdefault(metric.section, {})[metric.label] = _difference(values, pair)
    segments: dict[str, Any] = {}
    for segment in sums.segments(protocol):
        total = sums.get("segment_totals", protocol, segment, name="num_positives")
        kind, value = segment.split(SEPARATOR, 1)
        part = segments.setdefault(kind, {}).setdefault(value, {"num_positives": round(float(total[0]))})
        for metric in SEGMENT_METRICS:
            hit = {m: sums.get("segment_hits", m, protocol, segment, name=metric.column) for m in pair}
            part[metric.label] = _difference({m: quotient(hit[m], total) for m in pair}, pair)
    return {**found, "segments": segments}


def _difference(values: Mapping[str, np.ndarray], pair: Pair) -> dict[str, Any]:
    """Both means, their difference with its interval, and the p-value of there being none."""
    first, second = pair
    estimates = {model: float(found[0]) for model, found in values.items()}
    moved = paired_differences(estimates, {model: found[1:] for model, found in values.items()}, first)
    change = {key: plain(value) for key, value in asdict(moved[second]).items() if "holm" not in key}
    return {"first": plain(estimates[first]), "second": plain(estimates[second]), **change}
