"""Queries in chunks: how the part files of candidates, and of their features, are laid out.

The queries of a customer are parted into chunks of consecutive orders, each a row with the customer's events up to and
at the last of them. Hashes of the chunks choose the part, so a part file is of even size however busy a customer is,
and their order in it. What is shuffled of a customer grows with his events times his chunks, later events left out.

A stage that asks for the same number of parts meets the chunks in the same parts and in the same order: its tasks read
the part files of the stage before beside them (`PartReader`), where the JVM would take several times as long to bring
their long lists.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints
from recsys_spark.baselines.query_batches import with_queries
from recsys_spark.contracts.candidate_config import CandidatesConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.part_files import read_part

QUERIES_PER_CHUNK = 125  # where each of them is asked; of a sample a chunk has its share
_ROWS_READ = 512  # at once, of a table with long lists


def num_parts(num_queries: int, config: CandidatesConfig) -> int:
    """Part files of a table of so many queries."""
    return max(round(num_queries * config.max_per_query / config.shard_rows), 1)


def in_chunks(histories: DataFrame, queries: DataFrame, parts: int, seed: int) -> DataFrame:
    """Rows of `with_queries`, a row per chunk, with the events up to and at its last query, in so many parts."""
    chunk = F.floor(F.col("query_id") / QUERIES_PER_CHUNK).alias("chunk")
    asked = with_queries(histories, queries, chunk)
    num_events = F.size(F.filter("micros", lambda micros: micros <= F.element_at("query_micros", -1)))
    lists = {name for name, kind in asked.dtypes if kind.startswith("array")} - {"query_ids", "query_micros"}
    cut = asked.withColumns({name: F.slice(name, F.lit(1), num_events) for name in sorted(lists)})
    return lay_out(cut, F.col("query_ids")[0], parts, seed)


def lay_out(rows: DataFrame, query_id: Column, parts: int, seed: int) -> DataFrame:
    """Rows of queries, with their user_idx, in the parts and in the order of `in_chunks`."""
    key = F.xxhash64(F.floor(query_id / QUERIES_PER_CHUNK), "user_idx", F.lit(seed))
    return rows.repartition(parts, key).sortWithinPartitions(key, query_id)


class PartReader:
    """A part file whose queries are asked for in the order in which they lie there.

    folder: of a table with a row per query that a kernel over `in_chunks` wrote in as many parts. name: of `part_of`.
    """

    def __init__(self, folder: str, name: str | None, columns: list[str]) -> None:
        self._folder = folder
        self._batches: Iterator[pa.RecordBatch] = read_part(folder, name, columns, _ROWS_READ) if name else iter(())
        self._held: list[pa.RecordBatch] = []  # rows behind those that were asked for last

    def rows(self, query_ids: Ints) -> pa.RecordBatch:
        """Rows of these queries; rows of others before the last of them are passed over. Raises DataError where not
        all lie here, in this order.
        """
        found: list[pa.RecordBatch] = []
        missing = len(query_ids)
        while missing:
            batch = self._held.pop() if self._held else next(self._batches, None)
            if batch is None:
                raise DataError(
                    f"{self._folder} is laid out otherwise than its queries; run `recsys candidates --force`"
                )
            places = np.flatnonzero(np.isin(batch.column("query_id").to_numpy(), query_ids))
            missing -= len(places)
            found.append(batch.take(pa.array(places)))
            if not missing:
                self._held = [batch.slice(int(places[-1]) + 1)]
        rows = pa.Table.from_batches(found).combine_chunks().to_batches()[0]
        if not np.array_equal(rows.column("query_id").to_numpy(), query_ids):
            raise DataError(f"{self._folder} has its queries in another order; run `recsys candidates --force`")
        return rows
