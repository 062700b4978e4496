"""What each part of the second stage is worth: the ranker trained without it, held against the whole.

Every figure is per positive of the split and end to end, so what a source alone retrieves is lost with it. The places
that it held among a query's `candidates.max_per_query` stay empty: what the other sources would have put there was cut
before, so what a source is worth is overstated. Differences are paired over customers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.features import Feature
from recsys_spark.contracts.ranker_config import RankerConfig
from recsys_spark.evaluation.intervals import percentile_interval
from recsys_spark.evaluation.ranking_metrics import PER_POSITIVE, Metric
from recsys_spark.evaluation.results import DIGITS
from recsys_spark.ranker.places import METRICS, Resampled

WHOLE = "whole"
JUDGED_BY = (Metric(PER_POSITIVE, "recall", 20), Metric(PER_POSITIVE, "ndcg", 20))
PLAIN: dict[str, Any] = {  # the MLP as it is mostly built: pointwise, hard negatives, rows without dot_uv
    "model": "mlp",
    "loss": "bce",
    "negatives_per_positive": 4,
    "feature_drop": 0.1,
    "drop_features": ("dot_uv",),
    "within_query": False,
}
log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Variant:
    """A ranker to train: its features, settings, and the sources whose proposals it may order (None: all).

    is_trained: False for the order of the candidates alone.
    """

    name: str
    features: tuple[Feature, ...]
    config: RankerConfig
    proposers: Mapping[str, int] | None = None
    is_trained: bool = True


def variants(
    names: Sequence[str], features: Sequence[Feature], quotas: Mapping[str, int], config: RankerConfig
) -> list[Variant]:
    """The whole, then what `ablations.variants` names. features: of the whole; quotas: of the sources it has."""
    every = tuple(features)
    found = [_variant(WHOLE, every, config)]
    for name in names:
        if name == "base":
            found.append(_variant(name, (each for each in every if each.group == "base"), config))
        elif name == "no_ranker":
            found.append(Variant(name, every, config, is_trained=False))
        elif name == "bce":
            found.append(_variant(name, every, replace(config, model="mlp", loss="bce")))
        elif name == "plain":
            found.append(_variant(name, every, replace(config, **PLAIN)))
        elif name == "lambdarank":
            found.append(_variant(name, every, replace(config, model="lambdarank")))
        elif name == "groups":
            groups = dict.fromkeys(each.group for each in every)
            found += [_without_group(every, group, config) for group in groups]
        elif name == "sources":
            found += _without_sources(every, quotas, config)
    return [variant for variant in found if variant.features]


def _variant(
    name: str, features: Iterable[Feature], config: RankerConfig, proposers: Mapping[str, int] | None = None
) -> Variant:
    """A variant whose rows train without those of `ranker.drop_features` that it has."""
    kept = tuple(features)
    names = {each.name for each in kept}
    dropped = tuple(name for name in config.drop_features if name in names)
    share = config.feature_drop if dropped else 0.0
    return Variant(name, kept, replace(config, drop_features=dropped, feature_drop=share), proposers)


def _without_group(features: tuple[Feature, ...], group: str, config: RankerConfig) -> Variant:
    return _variant(f"without_{group}", (each for each in features if each.group != group), config)


def _without_sources(features: tuple[Feature, ...], quotas: Mapping[str, int], config: RankerConfig) -> list[Variant]:
    """Nothing where there is one source alone, nor where shards lack the ranks that say who proposed a candidate."""
    if not {f"rank_{source}" for source in quotas} <= {each.name for each in features}:
        log.warning("ablate: the sources are not left out one by one: features.set has no ranks of them")
        return []
    return [_without_source(features, source, quotas, config) for source in quotas] if len(quotas) > 1 else []


def _without_source(
    features: tuple[Feature, ...], source: str, quotas: Mapping[str, int], config: RankerConfig
) -> Variant:
    # num_sources counts the one that is left out as well, so it goes too.
    gone = {f"rank_{source}", f"score_{source}", "num_sources"}
    others = {name: quota for name, quota in quotas.items() if name != source}
    return _variant(f"without_{source}", (each for each in features if each.name not in gone), config, others)


def positive_totals(sequences: DataFrame) -> DataFrame:
    """Places (of `ranked_positives`) of all positives, each without a rank: their sums are the denominators."""
    is_counted = {"all_items": F.lit(True), "first_purchase": ~F.col("is_repeat")}
    counted = F.array(*(F.when(is_counted[protocol], protocol) for protocol in LIST_PROTOCOLS))
    each = sequences.select("user_idx", F.explode(counted).alias("protocol"), F.lit(None).cast("bigint").alias("rank"))
    return each.filter(F.col("protocol").isNotNull())


def compared(
    found: Mapping[str, Mapping[str, Resampled]], totals: Mapping[str, Resampled]
) -> dict[str, dict[str, dict[str, Any]]]:
    """By variant and protocol: each metric, and its `difference` to the whole with the 95 % interval.

    found: by variant, then protocol; totals: of `positive_totals`, by protocol, which has the same replicates.
    """
    return {
        name: {
            protocol: {metric.label: _held(metric, own, found[WHOLE], totals, protocol) for metric in JUDGED_BY}
            for protocol in totals
        }
        for name, own in found.items()
    }


def _held(
    metric: Metric,
    own: Mapping[str, Resampled],
    whole: Mapping[str, Resampled],
    totals: Mapping[str, Resampled],
    protocol: str,
) -> dict[str, Any]:
    mean, reference = (_mean(metric, part.get(protocol), totals[protocol]) for part in (own, whole))
    low, high = percentile_interval(mean[1:] - reference[1:])
    told = {"value": mean[0], "difference": mean[0] - reference[0]}
    rounded: dict[str, Any] = {name: round(float(value), DIGITS) for name, value in told.items()}
    return {**rounded, "interval": [round(low, DIGITS), round(high, DIGITS)]}


def _mean(metric: Metric, found: Resampled | None, total: Resampled) -> np.ndarray:
    positives = total.sums[:, 0]
    if found is None:  # not one positive among the candidates
        return np.zeros_like(positives)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = found.sums[:, 1 + METRICS.index(metric)] / positives
    return mean


def ablations_table(results: Mapping[str, Any]) -> str:
    """The test split of ranker_ablations.json as a table: of each variant the metrics, and what they lose."""
    lines = []
    for protocol in LIST_PROTOCOLS:
        lines += ["", f"test, {protocol}: {'Recall@20':>22} {'NDCG@20':>10}   Recall@20 less the whole's"]
        for name, by_protocol in results["split"]["test"].items():
            if protocol not in by_protocol:
                continue
            recall, ndcg = (by_protocol[protocol][metric.label] for metric in JUDGED_BY)
            low, high = recall["interval"]
            told = "" if name == WHOLE else f"{recall['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
            lines.append(f"{name:<30} {recall['value']:>10.4f} {ndcg['value']:>10.4f}   {told}".rstrip())
    return "\n".join(lines[1:])
