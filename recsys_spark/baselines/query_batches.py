"""Queries beside the events their customer had before them: what every baseline ranks from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints
from recsys_spark.baselines.purchases import Purchases
from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.sequences.windows import MICROS_PER_DAY, Events

_PAIRS_PER_BATCH = 2_000_000  # bounds the memory of a batch: (query, earlier event) and (query, listed item) pairs
_DETAILS = {  # arrays of a history that go along with its queries
    "items": "array<bigint>",
    "micros": "array<bigint>",
    "quantities": "array<double>",
    "showrooms": "array<bigint>",
    "channels": "array<bigint>",
}


@dataclass(frozen=True)
class QueryBatch:
    """Q queries. The events [start, end) are those of the query's customer strictly before it.

    depth: how many never bought items a model is asked for; a model may score more.
    """

    query_ids: Ints
    micros: Ints
    customers: Ints  # row of the query's customer in the Arrow batch
    start: Ints
    end: Ints
    events: Events
    # user_idx of the query's customer; for one that the fit does not know 0, or beyond its last
    users: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    depth: int = LIST_LENGTH

    def __len__(self) -> int:
        return len(self.query_ids)

    @property
    def num_earlier(self) -> Ints:
        """Events before each query, (Q,)."""
        return self.end - self.start

    @property
    def num_bought(self) -> Ints:
        """How many items its customer bought before each query, repeats counted once, (Q,); of a batch that is about
        some of the earlier events, before them too.
        """
        reached = self.events.num_first
        return reached[self.end] - reached[self.events.offsets[self.customers]]

    @cached_property
    def purchases(self) -> Purchases:
        """The earlier events item by item; made once, for all that ask."""
        rows, positions = self.earlier()
        return Purchases.of_pairs(rows, self.events.items[positions], positions)

    def earlier(self) -> tuple[Ints, Ints]:
        """All (query, earlier event) pairs, query by query: row of the query and position of the event, (P,) each."""
        sizes = self.num_earlier
        rows = np.repeat(np.arange(len(self)), sizes)
        first_of_row = np.cumsum(sizes) - sizes
        return rows, np.arange(len(rows)) - first_of_row[rows] + self.start[rows]

    def days_before(self, rows: Ints, positions: Ints) -> np.ndarray:
        """Days from each earlier event to its query, (P,)."""
        return (self.micros[rows] - self.events.micros[positions]) / MICROS_PER_DAY

    def seen(self, row: int) -> Ints:
        """Items that the customer bought before query `row`, repeats included."""
        return self.events.items[self.start[row] : self.end[row]]

    def part(self, rows: slice | Ints) -> QueryBatch:
        """Some of the queries, over the events of their first to their last customer: `Events.of_customers`."""
        kept = {name: getattr(self, name)[rows] for name in ("query_ids", "micros", "customers", "users")}
        customers = kept["customers"]
        first, last = (int(customers.min()), int(customers.max()) + 1) if len(customers) else (0, 0)
        cut = self.events.offsets[first]
        start, end = self.start[rows] - cut, self.end[rows] - cut
        return replace(self, **kept, start=start, end=end, events=self.events.of_customers(first, last))


def with_queries(histories: DataFrame, queries: DataFrame, *apart: Column) -> DataFrame:
    """One row per customer that has queries: its history and, as parallel arrays in time order, query_ids and
    query_micros. queries: user_idx, query_id, event_time. A customer without history has an empty one.

    quantities, showrooms and channels go along where the histories have them. apart: of the queries, those that differ
    in these lie in rows of their own.
    """
    moment = F.struct(F.unix_micros("event_time").alias("micros"), "query_id")
    by_customer = queries.groupBy("user_idx", "customer_id", *apart)
    asked = by_customer.agg(F.array_sort(F.collect_list(moment)).alias("asked"))
    held = [name for name in _DETAILS if name in histories.columns]
    return asked.join(histories.select("user_idx", *held), on="user_idx", how="left").select(
        "user_idx",
        "customer_id",
        *(F.coalesce(name, F.array().cast(_DETAILS[name])).alias(name) for name in held),
        F.col("asked.query_id").alias("query_ids"),
        F.col("asked.micros").alias("query_micros"),
    )


def spread(asked: DataFrame) -> DataFrame:
    """The rows of `with_queries` in spark.sql.shuffle.partitions parts.

    Without a number Spark merges parts by their bytes, which say little of how long a customer's queries take.
    """
    parts = asked.sparkSession.conf.get("spark.sql.shuffle.partitions") or "auto"
    return asked.repartition(int(parts), "user_idx") if parts.isdigit() else asked.repartition("user_idx")  # "auto"


def query_batches(batch: pa.RecordBatch) -> Iterator[QueryBatch]:
    """The queries of an Arrow batch of `with_queries`, in parts of bounded size."""
    held = {name: _values(batch, name) for name in _DETAILS if name in batch.schema.names}
    events = Events(_offsets(batch, "items"), **held)
    asked = _offsets(batch, "query_ids")
    customers = np.repeat(np.arange(batch.num_rows), np.diff(asked))
    micros = _values(batch, "query_micros")
    start = events.offsets[:-1][customers]
    end = first_not_before(events, customers, micros)
    whole = QueryBatch(_values(batch, "query_ids"), micros, customers, start, end, events, _users(batch)[customers])
    yield from (whole.part(rows) for rows in bounded_parts(whole))


def _users(batch: pa.RecordBatch) -> Ints:
    if "user_idx" not in batch.schema.names:  # a customer that no fit can know
        return np.zeros(batch.num_rows, dtype=np.int64)
    return batch.column("user_idx").to_numpy()


def first_not_before(events: Events, customers: Ints, micros: Ints) -> Ints:
    """For each query (customer and time, (Q,) each) the position of its customer's first event at or after it."""
    # Events are sorted by customer, then time, so one search over (customer, time) pairs serves all queries at once.
    owner = np.repeat(np.arange(len(events.offsets) - 1), np.diff(events.offsets))
    times = np.unique(np.concatenate([events.micros, micros]))
    width = len(times) + 1
    event_keys = owner * width + np.searchsorted(times, events.micros)
    return np.searchsorted(event_keys, customers * width + np.searchsorted(times, micros), side="left")


def bounded_parts(batch: QueryBatch) -> Iterator[slice]:
    """Rows of the batch, all in order, in parts of about _PAIRS_PER_BATCH pairs; a query is never parted."""
    reached = np.cumsum(batch.num_earlier + batch.depth)  # a list is as long for a customer without a history
    first = 0
    while first < len(batch):
        before = reached[first - 1] if first else 0
        last = max(int(np.searchsorted(reached, before + _PAIRS_PER_BATCH, side="right")), first + 1)
        yield slice(first, last)
        first = last


def _offsets(batch: pa.RecordBatch, name: str) -> Ints:
    offsets = batch.column(name).offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0]


def _values(batch: pa.RecordBatch, name: str) -> Any:
    return batch.column(name).flatten().to_numpy(zero_copy_only=False)
