"""Drift of what the ranker sees: every feature of the test shards of two runs."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import RANKER_FEATS
from recsys_spark.contracts.features import FEATURES
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.monitoring.distributions import Draws, moved_values
from recsys_spark.monitoring.histograms import fine_histograms
from recsys_spark.monitoring.measures import Measure, not_measured
from recsys_spark.monitoring.runs import SeenRun

GROUP = "features"
PART = "test"  # the newest queries
_BY_CLOCK = ("context", "calendar")  # groups of features that tell the season alone


def feature_measures(reference: SeenRun, current: SeenRun, config: MonitorConfig) -> list[Measure]:
    """PSI and missing rate of every feature; nothing is measured where a run has no shards."""
    runs = {"reference": reference, "current": current}
    lacking = [side for side, run in runs.items() if not run.has(RANKER_FEATS, part=PART)]
    if lacking:
        return [
            not_measured(GROUP, "psi", f"the {' and the '.join(lacking)} run has no {RANKER_FEATS.path_of(part=PART)}")
        ]
    return moved_features(reference.table(RANKER_FEATS, part=PART), current.table(RANKER_FEATS, part=PART), config)


def moved_features(reference: DataFrame, current: DataFrame, config: MonitorConfig) -> list[Measure]:
    """The same of two frames in the columns of RANKER_FEATS."""
    # A row without a value holds the feature's own value for that, as shards know no nulls.
    columns = {feature.name: feature.missing for feature in FEATURES}
    first, second = (fine_histograms(side, columns) for side in (reference, current))
    draws = Draws(num_queries(reference), num_queries(current), "queries")
    if not (draws.reference and draws.current):
        return [not_measured(GROUP, "psi", "one of the runs has no test queries with candidates")]
    return [
        measure
        for feature in FEATURES
        for measure in moved_values(
            GROUP, feature.name, (first[feature.name], second[feature.name]), draws, config, feature.group in _BY_CLOCK
        )
    ]


def num_queries(shards: DataFrame) -> int:
    """Queries that have a candidate."""
    row = shards.agg(F.count_distinct("query_id").alias("queries")).first()
    assert row is not None  # an aggregate without keys has one row
    return int(row["queries"])
