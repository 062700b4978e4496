"""Positives that the candidates lack, as rows of the part that the ranker learns from."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from pyspark.sql import functions as F

from jobs.features import _parts
from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.contracts.load_config import load_config
from recsys_spark.features.shards import shard_features, with_forced
from recsys_spark.sequences.windows import ORDERS_PER_CUSTOMER
from tests.features.test_features import builder_of
from tests.support.frames import frame, rows
from tests.support.worlds import START

FIRST, SECOND = (ORDERS_PER_CUSTOMER + order for order in (1, 2))  # queries of customer 1, the second a day later
OFFERED = {FIRST: {"items": [4, 2], "rank_own": [1, 0], "score_ease": [0.5, 0.25]}, SECOND: {"items": [3]}}
FORCED = {FIRST: {"items": [5, 6], "rank_own": [0, 0], "rank_ease": [90, 0], "score_ease": [0.125, 0.0]}}
POSITIVES = {FIRST: [2, 5, 6], SECOND: [3]}


def lists(spark, told):
    """Rows of CANDIDATES; ranks and scores that are not told are 0."""
    asked = []
    for query, given in told.items():
        nothing = [0] * len(given["items"])
        filled = {f"rank_{source}": nothing for source in SOURCES}
        filled |= {f"score_{source}": [0.0] * len(nothing) for source in SOURCES}
        time = START + timedelta(days=query - FIRST)
        asked.append({**filled, **given, "query_id": query, "event_time": time, "positives": POSITIVES[query]})
    return frame(spark, CANDIDATES, asked, user_idx=1, customer_id="A", history=[0])


def test_forced_positives_lie_behind_the_candidates_of_their_query(spark):
    found = with_forced(lists(spark, OFFERED), lists(spark, FORCED))
    assert rows(found, "query_id", "items", "rank_own", "rank_ease", "score_ease") == [
        (FIRST, [4, 2, 5, 6], [1, 0, 0, 0], [0, 0, 90, 0], [0.5, 0.25, 0.125, 0.0]),
        (SECOND, [3], [0], [0], [0.0]),
    ]
    assert found.dtypes == lists(spark, OFFERED).dtypes


def test_they_are_rows_of_their_query_with_what_every_source_says_of_them(spark, tmp_path):
    day = (START - datetime(1970, 1, 1)) // timedelta(microseconds=1) - 86_400_000_000
    schema = "user_idx bigint, items array<bigint>, micros array<bigint>, quantities array<double>"
    histories = spark.createDataFrame([(1, [4], [day], [1.0])], schema)
    candidates = with_forced(lists(spark, OFFERED), lists(spark, FORCED))
    found = shard_features(candidates, histories, builder_of(tmp_path), shard_rows=100, seed=1)
    own = found.filter(F.col("query_id") == FIRST)
    assert rows(own, "item_idx", "label", "is_repeat", "rank_ease", "score_ease") == [
        (2, 1.0, False, 1000.0, 0.25),
        (4, 0.0, True, 1000.0, 0.5),
        (5, 1.0, False, 90.0, 0.125),
        (6, 1.0, False, 1000.0, 0.0),
    ]
    assert rows(found.groupBy("query_id").count()) == [(FIRST, 4), (SECOND, 1)]


class Run:
    """Stands for a StageIO with a query in train, and another in its dev slice; both have a forced positive."""

    def __init__(self, spark) -> None:
        told = {"candidates": OFFERED, "candidates_forced": {**FORCED, SECOND: {"items": [6]}}}
        self.frames = {name: lists(spark, each) for name, each in told.items()}

    def read(self, artifact: Artifact, split: str):
        return self.frames[artifact.name]

    def read_json(self, artifact: Artifact):
        return {"fold_end": (START - timedelta(days=1)).isoformat()}


@pytest.mark.parametrize(("forced", "items"), [("false", [4, 2]), ("true", [4, 2, 5, 6])])
def test_only_on_request_and_never_in_the_dev_slice(spark, forced, items):
    config = load_config(pairs=["features.dev_share=0.5", f"features.forced_train={forced}"])
    parts = {name: rows(part, "query_id", "items") for name, part in _parts(Run(spark), config, "train").items()}
    assert parts == {"train": [(FIRST, items)], "dev": [(SECOND, [3])]}
