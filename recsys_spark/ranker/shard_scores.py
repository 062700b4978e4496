"""Queries whose candidates lie in shards already are ranked from these: nothing is retrieved or described again.

Names: R rows of shards, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch, spread, with_queries
from recsys_spark.baselines.ranking import Popular, Scored, rankings_of
from recsys_spark.candidates.retrieve import as_lists
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.ranker_config import TWO_STAGE
from recsys_spark.contracts.schemas import RANKINGS
from recsys_spark.sequences.windows import Ints

_LISTS = {"candidates": "array<bigint>", "scores": "array<double>", "first_scores": "array<double>"}
_SCORED = ", ".join(["query_id bigint", *(f"{name} {kind}" for name, kind in _LISTS.items())])


def score_shards(shards: DataFrame, ranker: FittedFile) -> DataFrame:
    """One row per query of RANKER_FEATS: query_id, its candidates, and their scores by the ranker's two heads.

    shards: as published; the rows of a query follow one another within a row group, which one task reads.
    """
    return shards.mapInArrow(partial(_score, file=ranker), _SCORED)


def rank_scored(
    histories: DataFrame,
    queries: DataFrame,
    scored: DataFrame,
    popularity: FittedPopularity,
    codes: Callable[[], pa.Array],
    k: int,
) -> DataFrame:
    """RANKINGS of the queries, masked_seen among them, from `score_shards`; a query that has no row gets popular items.

    codes: as for `rank`.
    """
    lists = F.struct("query_id", *_LISTS)
    held = queries.select("user_idx", "query_id").join(scored, on="query_id", how="inner")
    by_customer = held.groupBy("user_idx").agg(F.collect_list(lists).alias("scored"))
    asked = spread(with_queries(histories, queries).join(by_customer, on="user_idx", how="left"))
    return asked.mapInArrow(partial(_rank, popularity=popularity, codes=codes, k=k), RANKINGS.ddl)


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


def _rank(
    batches: Iterable[pa.RecordBatch], popularity: FittedPopularity, codes: Callable[[], pa.Array], k: int
) -> Iterator[pa.RecordBatch]:
    for arrow in batches:
        scored = arrow.column("scored").flatten()
        ids = scored.field("query_id").to_numpy()
        order = np.argsort(ids)
        lists = [scored.field(name).take(pa.array(order)) for name in _LISTS]
        values = [each.flatten().to_numpy(zero_copy_only=False) for each in lists]
        offsets = lists[0].offsets.to_numpy().astype(np.int64)
        model = GivenScores(popularity, ids[order], offsets - offsets[0], *values)
        yield from rankings_of([arrow], model, codes, k)


def _score(batches: Iterable[pa.RecordBatch], file: FittedFile) -> Iterator[pa.RecordBatch]:
    for rows, scores in scored_queries(batches, file):
        yield _lists(rows, scores)


def scored_queries(
    batches: Iterable[pa.RecordBatch], file: FittedFile
) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.float64]]]:
    """Rows of RANKER_FEATS with their scores by head, (N, 2); every query whole. batches: of one task, as published."""
    from recsys_spark.ranker.score import load_ranker  # torch, which those who plan the query do not need

    ranker = load_ranker(file.path, file.content)
    for rows in whole_queries(batches):
        yield rows, ranker.scores(features_of(rows, ranker.features), query_numbers(rows))


def whole_queries(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows parted anew, so that no query lies in two batches. Rows of a query follow one another."""
    carried: list[pa.RecordBatch] = []
    for arrow in batches:
        whole = pa.Table.from_batches([*carried, arrow]).combine_chunks().to_batches()[0]
        ids = whole.column("query_id").to_numpy()
        end = len(ids) - int(np.argmax(ids[::-1] != ids[-1])) if ids[0] != ids[-1] else 0
        carried = [whole.slice(end)]  # the newest query may go on in the next batch
        if end:
            yield whole.slice(0, end)
    yield from carried


def features_of(rows: pa.RecordBatch, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Some features of shard rows, (N, len(names))."""
    return np.stack([rows.column(name).to_numpy() for name in names], axis=1)


def query_numbers(rows: pa.RecordBatch) -> Ints:
    """The number of each row's query within the batch, ascending, (N,)."""
    ids = rows.column("query_id").to_numpy()
    return np.cumsum(np.append(True, ids[1:] != ids[:-1]))


def _lists(rows: pa.RecordBatch, scores: npt.NDArray[np.float64]) -> pa.RecordBatch:
    ids = rows.column("query_id").to_numpy()
    first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    bounds = np.append(first, len(ids))
    columns = {
        "query_id": pa.array(ids[first]),
        "candidates": as_lists(bounds, rows.column("item_idx").to_numpy(), pa.int64()),
        "scores": as_lists(bounds, scores[:, 0], pa.float64()),
        "first_scores": as_lists(bounds, scores[:, 1], pa.float64()),
    }
    return pa.RecordBatch.from_pydict(columns)
