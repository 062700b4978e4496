"""Where a ranker puts positives: held against a plain loop over queries, and against orders by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.part_files import part_names
from recsys_spark.ranker.places import (
    PLACES_DDL,
    means,
    missed_positives,
    offered_positives,
    ranked_positives,
    resampled,
)
from recsys_spark.ranker.score import load_ranker
from recsys_spark.ranker.shard_scores import _whole_queries as whole_queries
from recsys_spark.ranker.shard_scores import score_part_files, score_shards
from tests.support.frames import rows
from tests.support.rankers import CONFIG, FEATURES, planted, publish_candidates, ranker_job
from training.ranker.train import train_ranker

pytestmark = pytest.mark.torch

WORLD = planted(60, seed=9)


@pytest.fixture(scope="module")
def ranker(tmp_path_factory) -> FittedFile:
    folder = tmp_path_factory.mktemp("ranker")
    train_ranker(ranker_job(folder, publish_candidates(folder / "t.parquet", planted(200)), None, CONFIG))
    path = Path(folder) / "out" / "ranker_best.pt"
    return FittedFile(str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def shards_of_world() -> pd.DataFrame:
    """The planted candidates as shards, in the order of their queries; user_idx is one of seven customers."""
    columns = {name: values for name, values in vars(WORLD).items() if name != "features"}
    found = pd.DataFrame(columns | dict(zip(FEATURES, WORLD.features.T, strict=True)))
    return found.assign(user_idx=found["query_id"] % 7 + 1)


@pytest.fixture(scope="module")
def shards(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(shards_of_world()).repartition(3, "query_id").sortWithinPartitions("query_id")


def by_hand(ranker: FittedFile) -> list[tuple[int, str, int]]:
    """(user, protocol, rank) of every positive, by sorting each query alone."""
    found, loaded = [], load_ranker(ranker.path, ranker.content)
    for query, own in shards_of_world().groupby("query_id"):
        scores = loaded.scores(own[list(FEATURES)].to_numpy(np.float32), own["query_id"].to_numpy())
        for place, protocol in enumerate(("all_items", "first_purchase")):
            table = own.assign(score=scores[:, place].round(6))
            table = table[~table["is_repeat"]] if place else table
            order = table.sort_values(["score", "item_idx"], ascending=[False, True]).reset_index(drop=True)
            ranks = order.index[order["label"] > 0] + 1
            found += [(int(query) % 7 + 1, protocol, int(rank)) for rank in ranks]
    return sorted(found, key=repr)


def test_places_are_those_of_sorting_each_query_alone(ranker, shards):
    found = rows(ranked_positives(score_shards(shards, ranker)), "user_idx", "protocol", "rank")
    assert found == by_hand(ranker)
    assert sum(1 for _, protocol, _ in found if protocol == "first_purchase") == 30  # every second positive is new


def test_part_files_are_scored_as_their_rows_are(ranker, shards, spark, tmp_path):
    assert list(part_names(str(tmp_path))) == []
    assert score_part_files(spark, str(tmp_path), ranker).count() == 0
    shards = shards.withColumn("rank_own", F.when(F.col("item_idx") % 2 == 0, 5.0).otherwise(1000.0).cast("float"))
    everything = shards.toPandas()
    third = everything["query_id"] % 3
    for number in range(3):  # in row groups that end within queries, as other writers may leave them
        part = pa.Table.from_pandas(everything[third == number], preserve_index=False)
        pq.write_table(part, tmp_path / f"part_{number}.parquet", row_group_size=7)
    (tmp_path / "_SUCCESS").touch()
    for proposers in (None, {"own": 10}):
        scored = (score_part_files(spark, str(tmp_path), ranker, proposers), score_shards(shards, ranker, proposers))
        found, wanted = (frame.orderBy("query_id").toPandas() for frame in scored)
        assert len(found) == 60
        for name in found.columns:  # the last bits of scores depend on what is scored beside a query
            one, other = (np.hstack(frame[name].tolist()) for frame in (found, wanted))
            assert one.shape == other.shape
            assert np.allclose(one, other, rtol=0, atol=1e-12), name


def test_batches_without_rows_are_passed_over():
    rows_of_one = pa.RecordBatch.from_pydict({"query_id": [3, 3]})
    assert [batch.num_rows for batch in whole_queries([rows_of_one.slice(2), rows_of_one, rows_of_one.slice(2)])] == [2]


def test_shards_without_a_feature_are_refused_by_name(ranker, spark, tmp_path):
    lacking = pa.Table.from_pandas(shards_of_world().drop(columns=[FEATURES[0]]), preserve_index=False)
    pq.write_table(lacking, tmp_path / "part_0.parquet")
    with pytest.raises(PythonException, match=rf"part_0\.parquet lacks the columns \['{FEATURES[0]}'\]"):
        score_part_files(spark, str(tmp_path), ranker).collect()


def test_what_no_other_source_proposes_is_no_candidate(ranker, spark):
    table = shards_of_world()
    is_positive = table["label"] > 0
    # Of item_knn every candidate has a rank; own has one for all but the positives.
    table = table.assign(rank_item_knn=5.0, rank_own=np.where(is_positive, 1000.0, 2.0))
    frame = spark.createDataFrame(table).repartition(2, "query_id").sortWithinPartitions("query_id")
    assert ranked_positives(score_shards(frame, ranker, {"own": 10})).count() == 0
    assert ranked_positives(score_shards(frame, ranker, {"own": 10, "item_knn": 4})).count() == 0  # beyond its quota
    assert rows(ranked_positives(score_shards(frame, ranker, {"own": 10, "item_knn": 5}))) == by_hand(ranker)


def test_the_order_of_candidates_ranks_positives_by_their_places(spark):
    ddl = "user_idx bigint, query_id bigint, positives array<int>, items array<int>, rank_own array<int>"
    offered = [(1, 10, [7, 9], [5, 7, 8, 9], [1, 2, 0, 0]), (2, 20, [4], [3], [0])]
    found = rows(offered_positives(spark.createDataFrame(offered, ddl), ("own",)))
    # 5 and 7 were bought before, so among the new ones 9 stands second; 4 is no candidate.
    assert found == [(1, "all_items", 2), (1, "all_items", 4), (1, "first_purchase", 2)]


def test_positives_that_no_source_proposed_are_missed(spark):
    forced = spark.createDataFrame(
        [(1, 10, True), (2, 20, False)], "user_idx bigint, item_idx bigint, is_repeat boolean"
    )
    found = rows(missed_positives(forced))
    assert found == [(1, "all_items", None), (2, "all_items", None), (2, "first_purchase", None)]
    retrieved = spark.createDataFrame([(1, "all_items", 1)], PLACES_DDL)
    told = means(resampled(retrieved.unionByName(missed_positives(forced)), 200, 1)[("all_items",)])
    assert (told["num_positives"], told["recall@20"]) == (3, pytest.approx(1 / 3, abs=1e-4))


def test_means_are_over_positives_and_their_intervals_hold_them(spark):
    places = [(user, "all_items", rank) for user, rank in ((1, 1), (1, 30), (2, 3), (3, 200))]
    found = means(
        resampled(spark.createDataFrame(places, "user_idx bigint, protocol string, rank bigint"), 200, 1)[
            ("all_items",)
        ]
    )
    assert (found["num_positives"], found["recall@20"], found["recall@50"]) == (4, 0.5, 0.75)
    assert found["ndcg@20"] == pytest.approx((1 + 0.5) / 4)
    assert found["mrr@20"] == pytest.approx((1 + 1 / 3) / 4)
    low, high = found["intervals"]["recall@20"]
    assert 0 <= low < 0.5 < high <= 1
