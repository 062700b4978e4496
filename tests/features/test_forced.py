"""Positives that the candidates lack, as rows of the part that the ranker learns from."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from pyspark.sql import functions as F

from jobs.features import _described
from recsys_spark.candidates.chunks import in_chunks
from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.contracts.load_config import load_config
from recsys_spark.features.shards import shard_features
from recsys_spark.sequences.windows import ORDERS_PER_CUSTOMER
from tests.candidates.test_chunks import write_candidates
from tests.features.test_features import builder_of
from tests.support.frames import frame, rows
from tests.support.worlds import START

FIRST, SECOND = (ORDERS_PER_CUSTOMER + order for order in (1, 2))  # queries of customer 1, the second a day later
OFFERED = {FIRST: {"items": [4, 2], "rank_own": [1, 0], "score_ease": [0.5, 0.25]}, SECOND: {"items": [3]}}
FORCED = {
    FIRST: {"items": [5, 6], "rank_own": [0, 0], "rank_ease": [90, 0], "score_ease": [0.125, 0.0]},
    SECOND: {"items": [1]},
}
POSITIVES = {FIRST: [2, 5, 6], SECOND: [1, 3]}


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


@pytest.fixture
def folders(spark, tmp_path):
    """Of CANDIDATES and CANDIDATES_FORCED, each a part file, as their job leaves them."""
    found = {name: str(tmp_path / name) for name in ("candidates", "candidates_forced")}
    for folder, told in zip(found.values(), (OFFERED, FORCED), strict=True):
        write_candidates(lists(spark, told), 1, folder)
    return found


def shards(spark, told, builder, *folders):
    day = (START - datetime(1970, 1, 1)) // timedelta(microseconds=1) - 86_400_000_000
    schema = "user_idx bigint, items array<bigint>, micros array<bigint>, quantities array<double>"
    histories = spark.createDataFrame([(1, [4], [day], [1.0])], schema)
    return shard_features(in_chunks(histories, lists(spark, told), 1, seed=1), builder, *folders)


COLUMNS = ("item_idx", "label", "is_repeat", "rank_own", "rank_ease", "score_ease")


def test_forced_positives_are_rows_of_their_query_with_what_every_source_says_of_them(spark, tmp_path, folders):
    found = shards(spark, OFFERED, builder_of(tmp_path), folders["candidates"], folders["candidates_forced"])
    own = found.filter(F.col("query_id") == FIRST).select(*COLUMNS)
    assert [tuple(row) for row in own.collect()] == [
        (4, 0.0, True, 1.0, 1000.0, 0.5),
        (2, 1.0, False, 1000.0, 1000.0, 0.25),
        (5, 1.0, False, 1000.0, 90.0, 0.125),
        (6, 1.0, False, 1000.0, 1000.0, 0.0),
    ]
    assert rows(found, "query_id", "item_idx", "label")[4:] == [(SECOND, 1, 1.0), (SECOND, 3, 1.0)]


def test_without_them_the_candidates_alone_are_rows(spark, tmp_path, folders):
    found = shards(spark, OFFERED, builder_of(tmp_path), folders["candidates"])
    assert rows(found, "query_id", "item_idx") == [(FIRST, 2), (FIRST, 4), (SECOND, 3)]
    second = {SECOND: OFFERED[SECOND]}  # the first lies in the file too, and is passed over
    found = shards(spark, second, builder_of(tmp_path), folders["candidates"], folders["candidates_forced"])
    assert rows(found, "query_id", "item_idx") == [(SECOND, 1), (SECOND, 3)]


def test_those_forced_are_described_alone_too(spark, tmp_path, folders):
    found = shards(spark, FORCED, builder_of(tmp_path), folders["candidates_forced"])
    assert rows(found, *COLUMNS) == [
        (1, 1.0, False, 1000.0, 1000.0, 0.0),
        (5, 1.0, False, 1000.0, 90.0, 0.125),
        (6, 1.0, False, 1000.0, 1000.0, 0.0),
    ]


class Run:
    """Stands for a StageIO with a query in train, and another in its dev slice."""

    def __init__(self, spark) -> None:
        self.candidates = lists(spark, OFFERED)

    def read(self, artifact: Artifact, split: str):
        return self.candidates

    def path(self, artifact: Artifact, split: str):
        return f"/{artifact.name}/{split}"

    def read_json(self, artifact: Artifact):
        return {"fold_end": (START - timedelta(days=1)).isoformat()}


@pytest.mark.parametrize(("forced", "folder"), [("false", None), ("true", "/candidates_forced/train")])
def test_only_on_request_and_never_in_the_dev_slice(spark, forced, folder):
    config = load_config(pairs=["features.dev_share=0.5", f"features.forced_train={forced}"])
    parts = _described(Run(spark), config, "train")
    assert {name: rows(part.queries, "query_id") for name, part in parts.items()} == {
        "train": [(FIRST,)],
        "dev": [(SECOND,)],
    }
    assert [part.folder for part in parts.values()] == ["/candidates/train"] * 2
    assert [parts[name].forced for name in ("train", "dev")] == [folder, None]
