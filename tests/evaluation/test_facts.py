"""What lies behind evaluation.test_end is judged nowhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from jobs import ablate, report
from recsys_spark.contracts import artifacts, schemas
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.ranker_config import RankerConfig
from recsys_spark.evaluation.facts import judged, of_judged
from recsys_spark.ranker.ablations import Variant
from tests.support.frames import column, frame
from tests.support.memory_io import MemoryIO

END = "2011-03-02T09:00:00"
TIMES = {1: datetime(2011, 3, 1, 9), 2: datetime(2011, 3, 2, 9), 3: datetime(2011, 3, 3, 9)}


@pytest.fixture(scope="module")
def io(spark):
    """Three test queries of one positive each, the last one behind END."""
    queries = [{"query_id": query, "user_idx": query, "event_time": time} for query, time in TIMES.items()]
    candidates = [
        {"query_id": q, "user_idx": q, "items": [7], "positives": [7], "rank_own": [0], "rank_due": [0]} for q in TIMES
    ]
    held = MemoryIO(spark).give(artifacts.QUERIES, frame(spark, schemas.QUERIES, queries), split="test")
    sequences = [{**query, "pos_item_idx": 7, "is_repeat": False} for query in queries]
    held.give(artifacts.SEQUENCES, frame(spark, schemas.SEQUENCES, sequences), split="test")
    return held.give(artifacts.CANDIDATES, frame(spark, CANDIDATES, candidates), split="test")


def test_only_queries_of_test_end_and_an_event_at_the_end_counts(io):
    queries = io.read(artifacts.QUERIES, split="test")
    assert sorted(column(judged(queries, "test", END), "query_id")) == [1, 2]
    assert sorted(column(judged(queries, "test", None), "query_id")) == [1, 2, 3]
    assert sorted(column(judged(queries, "val", END), "query_id")) == [1, 2, 3]


def test_frames_without_a_time_keep_the_queries_that_are_judged(io):
    candidates, queries = (io.read(table, split="test") for table in (artifacts.CANDIDATES, artifacts.QUERIES))
    assert sorted(column(of_judged(candidates, queries, "test", END), "query_id")) == [1, 2]
    assert of_judged(candidates, queries, "test", None) is candidates


def test_the_report_counts_what_was_judged(io):
    counts = report._counts(io, END)
    assert counts == {"sequences_test": 2, "queries_test": 2}


def test_ablations_judge_as_the_evaluation_does(io):
    config = PipelineConfig()
    config = replace(config, evaluation=replace(config.evaluation, test_end=END, replicates=100))
    variant = Variant("no_ranker", (), RankerConfig(), is_trained=False)
    found = ablate._judge(io, config, variant, None, "test")
    assert {protocol: each.num_positives for protocol, each in found.items()} == {"all_items": 2, "first_purchase": 2}
