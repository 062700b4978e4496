"""The queries that candidates are made for: of train those alone that the sources of fit=fold know nothing of."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from jobs import candidates, features
from recsys_spark.candidates.fitted_sources import ranker_queries
from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    FIT_OF_SPLIT,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    PARTS_OF_RANKER,
    QUERIES,
    SPLIT_CUTOFFS,
    SPLIT_OF_FIT,
    Artifact,
)
from recsys_spark.contracts.load_config import load_config
from tests.support.frames import frame, rows
from tests.support.memory_io import MemoryIO
from tests.support.worlds import START

FOLD_END = START + timedelta(days=3)
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
ALL = 1_000  # more than there are


@pytest.fixture
def io(spark):
    """Queries of train a day before fold_end, exactly at it and a microsecond later; of val one of long ago."""
    times = {
        "train": {1: FOLD_END - DAY, 2: FOLD_END, 3: FOLD_END + MICROSECOND, 4: FOLD_END + DAY},
        "val": {5: START},
    }
    io = MemoryIO(spark).give(SPLIT_CUTOFFS, {"fold_end": FOLD_END.isoformat(timespec="microseconds")})
    for split, asked in times.items():
        queries = [{"query_id": query, "user_idx": 1, "event_time": time} for query, time in asked.items()]
        io.give(QUERIES, frame(spark, QUERIES.schema, queries), split=split)
    return io


def test_the_ranker_learns_from_queries_after_fold_end_alone(io):
    assert rows(ranker_queries(io, "train", ALL, seed=1), "query_id") == [(3,), (4,)]


def test_queries_of_other_splits_are_all_taken(io):
    assert rows(ranker_queries(io, "val", 0, seed=1), "query_id") == [(5,)]


def test_about_so_many_training_queries_are_taken_and_which_follows_from_the_seed(spark):
    asked = FOLD_END + MICROSECOND
    times = [{"query_id": query, "customer_id": f"c{query}", "event_time": asked} for query in range(2_000)]
    io = MemoryIO(spark).give(SPLIT_CUTOFFS, {"fold_end": FOLD_END.isoformat()})
    queries = frame(spark, QUERIES.schema, times)
    taken = {}
    for name, partitions, seed in (("one", 1, 1), ("spread", 5, 1), ("other", 1, 2)):
        io.give(QUERIES, queries.repartition(partitions), split="train")
        taken[name] = rows(ranker_queries(io, "train", 500, seed), "query_id")
    assert len(taken["one"]) == pytest.approx(500, abs=100)  # five times the deviation of such a draw
    assert taken["one"] == taken["spread"]
    assert taken["one"] != taken["other"]
    others = queries.withColumn("query_id", F.lit(9_999) - F.col("query_id"))  # as with a customer more
    io.give(QUERIES, others, split="train")
    found = rows(ranker_queries(io, "train", 500, 1), "query_id")
    assert {9_999 - query for (query,) in found} == {query for (query,) in taken["one"]}


def test_each_split_is_ranked_by_the_fit_that_ends_before_it():
    assert FIT_OF_SPLIT == {"train": "fold", "val": "train", "test": "val"}
    assert SPLIT_OF_FIT == {"train": "val", "val": "test"}


class Recording(MemoryIO):
    """Takes every fitted table as there, and keeps the kernel that each split is asked with."""

    def path_and_content(self, artifact: Artifact, **keys: str) -> tuple[str, str]:
        return artifact.path_of(**keys), "content"

    def num_rows(self, artifact: Artifact, **keys: str) -> int:
        return 0

    def write_tables(self, tables: object, asked: object, kernel: object, split: str) -> tuple[int, int]:
        self.held[split] = kernel
        return 0, 0


def fits_named(kernel: object) -> set[str]:
    """The fits whose files a kernel or a builder of features reads."""
    return set(re.findall(r"fit=(\w+)", repr(kernel)))


@pytest.fixture
def recording(spark):
    """All that both stages read as tables, without rows."""
    ends = {name: (FOLD_END + n * DAY).isoformat() for n, name in enumerate(("fold_end", "train_end", "val_end"))}
    io = Recording(spark).give(SPLIT_CUTOFFS, ends)
    for table in (INTERACTIONS_CLEAN, ITEM_ID_MAP, CUSTOMER_ID_MAP):
        io.give(table, frame(spark, table.schema, []))
    for split in FIT_OF_SPLIT:
        io.give(QUERIES, frame(spark, QUERIES.schema, []), split=split)
    return io


WITHOUT_TOWERS = load_config(pairs=["retriever.towers=[]"])


def test_the_sources_of_each_split_read_tables_of_its_fit_alone(recording):
    candidates.run(recording, WITHOUT_TOWERS)
    assert {split: fits_named(recording.held[split]) for split in FIT_OF_SPLIT} == {
        split: {fit} for split, fit in FIT_OF_SPLIT.items()
    }


def test_the_features_of_each_split_read_tables_of_its_fit_alone(recording, monkeypatch):
    builders = {}
    monkeypatch.setattr(features, "_described", lambda _io, _config, split: {split: features.Described(None, split)})
    monkeypatch.setattr(features, "in_chunks", lambda *_: None)
    monkeypatch.setattr(features, "shard_features", lambda _, builder, split, *__: builders.update({split: builder}))
    monkeypatch.setattr(recording, "write", lambda *_, **__: 0)
    features.run(recording, WITHOUT_TOWERS)
    assert {split: fits_named(builder) for split, builder in builders.items()} == {
        split: {fit} for split, fit in FIT_OF_SPLIT.items()
    }


def test_the_ranker_of_a_fit_learns_from_no_part_behind_its_end():
    assert PARTS_OF_RANKER == {
        "train": ("train",),
        "val": ("train", "dev", "val"),
        "full": ("train", "dev", "val", "test"),
    }
