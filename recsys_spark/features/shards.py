"""From candidates to shards of features: customers' events meet their queries in the same tasks, in one shuffle.

The queries of a customer are parted into chunks of consecutive orders. Each chunk gets a row with the customer's events
before the last of its queries, which a task sees just before the chunk's queries. So a shard is of even size however
busy a customer is; what is shuffled of one still grows with its events times its chunks, later events left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import find, pair_keys
from recsys_spark.baselines.query_batches import QueryBatch, bounded_parts, first_not_before
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.candidate_schemas import CANDIDATES, RANKER_FEATS
from recsys_spark.contracts.features import FEATURES
from recsys_spark.features.build import FeatureBuilder
from recsys_spark.part_files import map_batches
from recsys_spark.sequences.windows import Events

QUERIES_PER_CHUNK = 32
_EVENTS = {"event_items": "array<bigint>", "event_micros": "array<bigint>", "event_quantities": "array<double>"}
_LISTS = ("items", *(f"rank_{source}" for source in SOURCES), *(f"score_{source}" for source in SOURCES))
_OFFERED = ("positives", *_LISTS)


def shard_features(
    candidates: DataFrame, histories: DataFrame, builder: FeatureBuilder, shard_rows: int, seed: int
) -> DataFrame:
    """RANKER_FEATS of CANDIDATES, in about `shard_rows` rows per part file; rows in an order that hashes decide.

    histories: of `customer_histories` with quantities, over all time: a query's features use events before it.
    """
    total = candidates.agg(F.sum(F.size("items")).alias("pairs")).first()
    num_shards = max(round((total["pairs"] if total and total["pairs"] else 0) / shard_rows), 1)
    laid_out = events_before_queries(candidates, histories, num_shards, seed)
    return map_batches(laid_out, ShardKernel(builder), RANKER_FEATS)


def with_forced(candidates: DataFrame, forced: DataFrame) -> DataFrame:
    """CANDIDATES with the items of CANDIDATES_FORCED behind those of the same query, still a row per query."""
    types = dict(candidates.dtypes)
    behind = forced.select("query_id", *(F.col(name).alias(f"forced_{name}") for name in _LISTS))
    both = {name: F.concat(name, F.coalesce(f"forced_{name}", _nothing(types[name]))) for name in _LISTS}
    return candidates.join(behind, on="query_id", how="left").withColumns(both).select(*CANDIDATES.names)


def events_before_queries(candidates: DataFrame, histories: DataFrame, num_parts: int, seed: int) -> DataFrame:
    """Rows of queries with their candidates, and before those of each chunk one with query_id 0 and the events
    before the last of them.
    """
    chunk = F.floor(F.col("query_id") / QUERIES_PER_CHUNK).alias("chunk")
    queries = candidates.select(
        chunk,
        "user_idx",
        "query_id",
        F.unix_micros("event_time").alias("micros"),
        *(_nothing(kind).alias(name) for name, kind in _EVENTS.items()),
        *_OFFERED,
    )
    chunks = candidates.groupBy(chunk, "user_idx").agg(F.unix_micros(F.max("event_time")).alias("last"))
    num_before = F.size(F.filter("micros", lambda micros: micros < F.col("last")))
    types = dict(candidates.dtypes)
    customers = chunks.join(histories, on="user_idx", how="inner").select(
        "chunk",
        "user_idx",
        F.lit(0).cast("bigint").alias("query_id"),
        F.lit(0).cast("bigint").alias("micros"),
        *(F.slice(name.removeprefix("event_"), F.lit(1), num_before).alias(name) for name in _EVENTS),
        *(_nothing(types[name]).alias(name) for name in _OFFERED),
    )
    key = F.xxhash64("chunk", F.lit(seed))
    spread = queries.unionByName(customers).repartition(num_parts, key)
    return spread.sortWithinPartitions(key, "chunk", "query_id")


def _nothing(kind: str) -> Column:
    return F.array().cast(kind)


@dataclass(frozen=True)
class ShardKernel:
    """From rows of `events_before_queries` to RANKER_FEATS."""

    builder: FeatureBuilder

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return (self._rows(batch, queries) for batch, queries in queries_with_events(batches))

    def _rows(self, batch: QueryBatch, queries: pa.RecordBatch) -> pa.RecordBatch:
        candidates = candidates_in(queries, self.builder.sources)
        positives = pair_keys(_row_numbers(queries, "positives"), _values(queries, "positives"))
        features = self.builder.columns(batch, candidates)
        is_repeat = find(batch.purchases.keys, candidates.keys)[1]
        columns = {
            "query_id": pa.array(batch.query_ids[candidates.rows]),
            "user_idx": pa.array(batch.users[candidates.rows]),
            "item_idx": pa.array(candidates.items),
            "label": pa.array(find(positives, candidates.keys)[1].astype(np.float32)),
            "is_repeat": pa.array(is_repeat),
            **{feature.name: pa.array(features[feature.name]) for feature in FEATURES},
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in RANKER_FEATS.names], names=RANKER_FEATS.names)


def queries_with_events(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[QueryBatch, pa.RecordBatch]]:
    """The queries of rows of `events_before_queries`, and these rows of theirs, in parts of bounded size."""
    last: list[pa.RecordBatch] = []  # the newest customer, whose queries may go on in the next Arrow batch
    for arrow in filter(len, batches):
        whole = pa.Table.from_batches([*last, arrow]).combine_chunks().to_batches()[0]
        is_customer = whole.column("query_id").to_numpy() == 0
        last = [whole.slice(int(np.flatnonzero(is_customer)[-1]), 1)]
        queries = whole.filter(pa.array(~is_customer))
        if queries.num_rows:
            owner = np.cumsum(is_customer)[~is_customer] - 1
            batch = _query_batch(whole.filter(pa.array(is_customer)), queries, owner)
            for rows in bounded_parts(batch):
                yield batch.part(rows), queries.slice(rows.start, rows.stop - rows.start)


def candidates_in(queries: pa.RecordBatch, sources: tuple[str, ...]) -> CandidateRows:
    """The candidates of rows of CANDIDATES, in their order there."""
    ranks = [_values(queries, f"rank_{source}") for source in sources]
    scores = [_values(queries, f"score_{source}") for source in sources]
    items = _values(queries, "items").astype(np.int64)
    return CandidateRows(_row_numbers(queries, "items"), items, np.stack(ranks, axis=1), np.stack(scores, axis=1))


def _query_batch(customers: pa.RecordBatch, queries: pa.RecordBatch, owner: np.ndarray) -> QueryBatch:
    """owner: the row of each query's customer."""
    offsets = customers.column("event_items").offsets.to_numpy().astype(np.int64)
    held = [_values(customers, name) for name in _EVENTS]
    events = Events(offsets - offsets[0], *held)
    micros = queries.column("micros").to_numpy()
    return QueryBatch(
        query_ids=queries.column("query_id").to_numpy(),
        micros=micros,
        customers=owner,
        start=events.offsets[:-1][owner],
        end=first_not_before(events, owner, micros),
        events=events,
        users=queries.column("user_idx").to_numpy(),
    )


def _values(batch: pa.RecordBatch, name: str) -> np.ndarray:
    return batch.column(name).flatten().to_numpy(zero_copy_only=False)


def _row_numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    sizes = np.diff(batch.column(name).offsets.to_numpy())
    return np.repeat(np.arange(batch.num_rows, dtype=np.int64), sizes)
