"""Queries whose candidates lie in shards already are ranked from these: nothing is retrieved or described again.

Names: R rows of shards, Q queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.candidates.retrieve import as_lists
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.candidate_config import is_proposed
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.ranker_config import TWO_STAGE
from recsys_spark.part_files import part_names, read_part

if TYPE_CHECKING:
    from recsys_spark.ranker.score import Ranker  # torch, which those who plan the query do not need

_LISTS = {"candidates": "array<bigint>", "scores": "array<double>", "first_scores": "array<double>"}
# One row per query; a list has an entry per candidate. is_bought, is_repeat: as label and is_repeat of RANKER_FEATS.
_FACTS = {"is_bought": "array<boolean>", "is_repeat": "array<boolean>"}
_READ = ("query_id", "user_idx", "item_idx", "label", "is_repeat")  # of a shard, beside what the ranker scores
SCORED_DDL = ", ".join(["query_id bigint, user_idx bigint", *(f"{n} {kind}" for n, kind in (_LISTS | _FACTS).items())])


def score_shards(shards: DataFrame, ranker: FittedFile, proposers: Mapping[str, int] | None = None) -> DataFrame:
    """SCORED_DDL: each query of RANKER_FEATS with its candidates and their scores by the ranker's two heads.

    shards: as published; the rows of a query follow one another within a row group, which one task reads. proposers:
    quotas of sources by name; what none of them proposes is scored with the rest and then left out.
    """
    return shards.mapInArrow(partial(_score, file=ranker, proposers=proposers), SCORED_DDL)


def score_part_files(
    spark: SparkSession, folder: str, ranker: FittedFile, proposers: Mapping[str, int] | None = None
) -> DataFrame:
    """As `score_shards` of all shards in a folder, whose files the tasks open themselves.

    Through the JVM some eighty columns take several times as long as their scores.
    """
    names = part_names(folder)
    score = partial(_score_files, folder=folder, names=names, file=ranker, proposers=proposers)
    return spark.range(len(names), numPartitions=max(len(names), 1)).mapInArrow(score, SCORED_DDL)


def with_scores(asked: DataFrame, queries: DataFrame, scored: DataFrame) -> DataFrame:
    """A frame of `with_queries` with the scored candidates of each customer's queries: what `ScoresOf` ranks.

    scored: of `score_shards`; a query may have no row there.
    """
    lists = F.struct("query_id", *_LISTS)
    held = queries.select("user_idx", "query_id").join(scored.drop("user_idx"), on="query_id", how="inner")
    by_customer = held.groupBy("user_idx").agg(F.collect_list(lists).alias("scored"))
    return asked.join(by_customer, on="user_idx", how="left")


@dataclass(frozen=True)
class GivenScores:
    """A `Model` of ready scores. query_ids: ascending, (Q,); those of query q are [offsets[q], offsets[q + 1])."""

    popularity: FittedPopularity
    query_ids: Ints
    offsets: Ints
    items: Ints
    scores: np.ndarray
    first: np.ndarray
    name: str = TWO_STAGE

    def popular(self) -> Popular:
        return self.popularity.order(by_recent=True)

    def score(self, batch: QueryBatch) -> Scored:
        place = np.searchsorted(self.query_ids, batch.query_ids)
        is_there = np.append(self.query_ids, -1)[place] == batch.query_ids
        start, end = self.offsets[place * is_there], self.offsets[(place + 1) * is_there]
        sizes = end - start
        rows = np.repeat(np.arange(len(batch)), sizes)
        at = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes - start, sizes)
        return Scored(rows, self.items[at], self.scores[at], self.first[at])


@dataclass(frozen=True)
class ScoresOf:
    """Makes the model of an Arrow batch of `with_scores`."""

    popularity: FittedPopularity

    def __call__(self, batch: pa.RecordBatch) -> tuple[GivenScores]:
        scored = batch.column("scored").flatten()
        ids = scored.field("query_id").to_numpy()
        order = np.argsort(ids)
        lists = [scored.field(name).take(pa.array(order)) for name in _LISTS]
        values = [each.flatten().to_numpy(zero_copy_only=False) for each in lists]
        offsets = lists[0].offsets.to_numpy().astype(np.int64)
        return (GivenScores(self.popularity, ids[order], offsets - offsets[0], *values),)


@dataclass(frozen=True)
class ScoredRows:
    """The candidates of a batch of SCORED_DDL as flat arrays, (N,) each; query ascends.

    scores: by head, of all items and of those new to the customer. users: user_idx of each row.
    """

    query: Ints
    users: Ints
    items: Ints
    scores: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    is_bought: npt.NDArray[np.bool_]
    is_new: npt.NDArray[np.bool_]

    @staticmethod
    def of(batch: pa.RecordBatch) -> ScoredRows:
        """The rows of all queries of the batch."""
        sizes = np.diff(batch.column("candidates").offsets.to_numpy())
        query = np.repeat(np.arange(len(sizes)), sizes)
        flat = {name: batch.column(name).flatten().to_numpy(zero_copy_only=False) for name in (*_LISTS, *_FACTS)}
        return ScoredRows(
            query=query,
            users=batch.column("user_idx").to_numpy()[query],
            items=flat["candidates"],
            scores=(flat["scores"], flat["first_scores"]),
            is_bought=flat["is_bought"].astype(bool),
            is_new=~flat["is_repeat"].astype(bool),
        )

    def by_protocol(self) -> Iterator[tuple[str, npt.NDArray[np.float64], npt.NDArray[np.bool_]]]:
        """Of each list protocol its name, the scores that order it, and which rows count in it."""
        counts = (np.ones_like(self.is_new), self.is_new)
        yield from zip(LIST_PROTOCOLS, self.scores, counts, strict=True)


def _score(
    batches: Iterable[pa.RecordBatch], file: FittedFile, proposers: Mapping[str, int] | None
) -> Iterator[pa.RecordBatch]:
    from recsys_spark.ranker.score import load_ranker

    return _lists_of(batches, load_ranker(file.path, file.content), proposers)


def _score_files(
    batches: Iterable[pa.RecordBatch],
    folder: str,
    names: Sequence[str],
    file: FittedFile,
    proposers: Mapping[str, int] | None,
) -> Iterator[pa.RecordBatch]:
    """batches: of places in `names`, the part files to score."""
    from recsys_spark.ranker.score import load_ranker

    ranker = load_ranker(file.path, file.content)
    columns = dict.fromkeys((*_READ, *ranker.features, *(f"rank_{source}" for source in proposers or ())))
    for batch in batches:
        for place in batch.column("id").to_pylist():
            yield from _lists_of(read_part(folder, names[place], list(columns)), ranker, proposers)


def _lists_of(
    batches: Iterable[pa.RecordBatch], ranker: Ranker, proposers: Mapping[str, int] | None
) -> Iterator[pa.RecordBatch]:
    """SCORED_DDL of rows of shards."""
    for rows in _whole_queries(batches):
        scores = ranker.scores(_features_of(rows, ranker.features), np.cumsum(_begins_query(rows)))
        if proposers is not None:
            kept = _proposed(rows, proposers)
            rows, scores = rows.filter(pa.array(kept)), scores[kept]
        if rows.num_rows:
            yield _lists(rows, scores)


def _whole_queries(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows parted anew, so that no query lies in two batches. Rows of a query follow one another."""
    carried: list[pa.RecordBatch] = []
    for arrow in filter(len, batches):
        whole = pa.Table.from_batches([*carried, arrow]).combine_chunks().to_batches()[0]
        ids = whole.column("query_id").to_numpy()
        end = len(ids) - int(np.argmax(ids[::-1] != ids[-1])) if ids[0] != ids[-1] else 0
        carried = [whole.slice(end)]  # the newest query may go on in the next batch
        if end:
            yield whole.slice(0, end)
    yield from carried


def _features_of(rows: pa.RecordBatch, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Some features of shard rows, (N, len(names))."""
    return np.stack([rows.column(name).to_numpy() for name in names], axis=1)


def _begins_query(rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Whether a row is the first of its query, (N,)."""
    ids = rows.column("query_id").to_numpy()
    return np.append(True, ids[1:] != ids[:-1])


def _proposed(rows: pa.RecordBatch, quotas: Mapping[str, int]) -> npt.NDArray[np.bool_]:
    """Whether any of the sources ranks the candidate within its quota; (N,)."""
    found = np.zeros(rows.num_rows, dtype=bool)
    for source, quota in quotas.items():
        found |= is_proposed(rows.column(f"rank_{source}").to_numpy(), quota)
    return found


def _lists(rows: pa.RecordBatch, scores: npt.NDArray[np.float64]) -> pa.RecordBatch:
    first = np.flatnonzero(_begins_query(rows))
    bounds = np.append(first, rows.num_rows)
    columns = {
        **{name: rows.column(name).take(pa.array(first)) for name in ("query_id", "user_idx")},
        "candidates": as_lists(bounds, rows.column("item_idx").to_numpy(), pa.int64()),
        "scores": as_lists(bounds, scores[:, 0], pa.float64()),
        "first_scores": as_lists(bounds, scores[:, 1], pa.float64()),
        "is_bought": as_lists(bounds, rows.column("label").to_numpy() > 0, pa.bool_()),
        "is_repeat": as_lists(bounds, rows.column("is_repeat").to_numpy(zero_copy_only=False), pa.bool_()),
    }
    return pa.RecordBatch.from_pydict(columns)
