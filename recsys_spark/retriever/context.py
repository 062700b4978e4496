"""The context of queries as the towers are told of it in training: by the kernel that serves them too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.query_batches import query_batches, with_queries
from recsys_spark.baselines.query_context import query_context
from recsys_spark.contracts.context import CONTEXT_SIZES

_DDL = "query_id bigint, context array<int>"


def query_contexts(histories: DataFrame, queries: DataFrame) -> DataFrame:
    """query_id and context, one row per query: what was known strictly before it.

    histories: of `customer_histories` over all time, with places where a tower is told of them. queries: user_idx,
    customer_id, query_id, event_time.
    """
    return with_queries(histories, queries).mapInArrow(_contexts_of, _DDL)


def contexts_at(histories: DataFrame, cutoff_micros: int) -> DataFrame:
    """user_idx and context of each customer just after a cutoff."""
    moment = F.timestamp_micros(F.lit(cutoff_micros + 1)).alias("event_time")
    queries = histories.select("user_idx", "customer_id", F.col("user_idx").alias("query_id"), moment)
    return query_contexts(histories, queries).withColumnRenamed("query_id", "user_idx")


def with_context(frame: DataFrame, contexts: DataFrame | None, key: str) -> DataFrame:
    """The frame with `context`, of zeros where there is none. contexts: key and context."""
    if contexts is None:
        return frame.withColumn("context", _nothing())
    told = contexts.select(key, F.col("context").alias("_told"))
    found = frame.join(told, on=key, how="left")
    return found.withColumn("context", F.coalesce("_told", _nothing())).drop("_told")


def _nothing() -> Column:
    return F.array_repeat(F.lit(0), len(CONTEXT_SIZES))


def _contexts_of(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for arrow in batches:
        for batch in query_batches(arrow):
            values = query_context(batch)
            offsets = np.arange(len(batch) + 1, dtype=np.int32) * values.shape[1]
            lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
            yield pa.RecordBatch.from_arrays([pa.array(batch.query_ids), lists], names=["query_id", "context"])
