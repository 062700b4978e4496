"""The analysis of a ranker looks at the queries that the evaluation judges."""

from __future__ import annotations

from datetime import datetime

from recsys_spark.contracts import artifacts, schemas
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.contracts.ranker_config import AnalysisConfig
from recsys_spark.ranker.analysis import WITHOUT_RANKER, analyse
from recsys_spark.ranker.shard_scores import SCORED_DDL
from tests.support.frames import frame
from tests.support.memory_io import MemoryIO

LISTS = {"items": [7, 8], "positives": [7], "rank_own": [0, 0], "rank_due": [0, 0]}
SCORES = ([7, 8], [0.5, 0.1], [0.5, 0.1], [True, False], [False, False])


class RankerIO(MemoryIO):
    def path_and_content(self, artifact, **keys):
        return artifact.path_of(**keys), "content"


def test_test_queries_behind_the_end_of_the_test_are_left_out(spark):
    io, scored = RankerIO(spark), {}
    for split in ("val", "test"):
        ids = [{"query_id": query, "user_idx": query} for query in (1, 2, 3)]
        times = [{**one, "event_time": datetime(2011, 3, one["query_id"], 9)} for one in ids]
        io.give(artifacts.QUERIES, frame(spark, schemas.QUERIES, times), split=split)
        io.give(artifacts.CANDIDATES, frame(spark, CANDIDATES, [{**one, **LISTS} for one in ids]), split=split)
        scored[split] = spark.createDataFrame([(query, query, *SCORES) for query in (1, 2, 3)], SCORED_DDL)
    evaluation = EvaluationConfig(replicates=100, test_end="2011-03-02T09:00:00")
    options = AnalysisConfig(importance_queries=0, forced_queries=0)
    told = analyse(io, scored, options, evaluation, seed=1)
    within = told["within_candidates"]
    assert told["over_all_positives"] == {}
    counts = {
        split: {order: found["all_items"]["num_positives"] for order, found in within[split].items()}
        for split in within
    }
    assert counts == {"val": {"two_stage": 3, WITHOUT_RANKER: 3}, "test": {"two_stage": 2, WITHOUT_RANKER: 2}}
