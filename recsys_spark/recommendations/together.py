"""How many customers bought both of two products, and how many of their baskets held both.

Only pairs that a reason points to are counted: at most one per listed (customer, item), so never more than customers x
top_n, and each distinct pair once. A task holds the purchases of some customers as sparse matrices and goes through the
pairs in parts; it hands on one row per pair that any of them bought. No pair of a customer's products is ever a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pa_dataset
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsys_spark.arrays import Ints
from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.paths import filesystem, spark_uri

PAIRS = "item_idx bigint, other_idx bigint"
_COUNTS = "item_idx bigint, other_idx bigint, customers bigint, baskets bigint"
_EVENTS_AT_A_TIME = 5_000_000  # of the customers whose purchases a task holds: 200 MiB
_PAIRS_AT_A_TIME = 100_000
_ENTRIES_AT_A_TIME = 10_000_000  # of the columns that are held against each other


def co_purchases(asked: DataFrame, pairs: DataFrame, folder: str) -> DataFrame:
    """PAIRS with `customers` and `baskets` of all customers before their queries; pairs nobody bought are left out.

    asked: of `with_queries`, one query per customer. pairs: PAIRS, distinct. folder: empty, and all executors reach it.
    A basket is what a customer bought at one time.
    """
    pairs.write.mode("overwrite").parquet(spark_uri(folder))
    counted = asked.mapInArrow(partial(count_batches, folder=folder), _COUNTS)
    sums = (F.sum(name).alias(name) for name in ("customers", "baskets"))
    return counted.groupBy("item_idx", "other_idx").agg(*sums)


def count_batches(batches: Iterable[pa.RecordBatch], folder: str) -> Iterator[pa.RecordBatch]:
    """The kernel of `co_purchases`."""
    held = _Held()
    for arrow in batches:
        for batch in query_batches(arrow):
            held.add(batch)
            if held.num_events > _EVENTS_AT_A_TIME:
                yield from _counts(held, folder)
                held = _Held()
    if held.num_events:
        yield from _counts(held, folder)


@dataclass
class _Held:
    """Purchases of some customers: numbers of customers and baskets from 0, and what each holds."""

    num_customers: int = 0
    num_baskets: int = 0
    num_events: int = 0
    customers: list[Ints] = field(default_factory=list)
    baskets: list[Ints] = field(default_factory=list)
    items: list[Ints] = field(default_factory=list)

    def add(self, batch: QueryBatch) -> None:
        """The purchases before each query of a batch."""
        rows, positions = batch.earlier()
        starts = np.ones(len(rows), dtype=bool)
        micros = batch.events.micros[positions]
        starts[1:] = (np.diff(rows) != 0) | (np.diff(micros) != 0)
        baskets = np.cumsum(starts) - 1
        self.customers.append(rows + self.num_customers)
        self.baskets.append(baskets + self.num_baskets)
        self.items.append(batch.events.items[positions])
        self.num_customers += len(batch)
        self.num_baskets += int(starts.sum())
        self.num_events += len(rows)

    def columns(self) -> tuple[sparse.csc_matrix, sparse.csc_matrix]:
        """Ones at (customer, item) and at (basket, item)."""
        items = np.concatenate(self.items)
        width = int(items.max(initial=0)) + 1
        shapes = ((self.num_customers, width), (self.num_baskets, width))
        return tuple(
            _ones(np.concatenate(rows), items, shape)
            for rows, shape in zip((self.customers, self.baskets), shapes, strict=True)
        )  # type: ignore[return-value]


def _ones(rows: Ints, columns: Ints, shape: tuple[int, int]) -> sparse.csc_matrix:
    matrix = sparse.csc_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _counts(held: _Held, folder: str) -> Iterator[pa.RecordBatch]:
    """Rows of _COUNTS for the pairs that one of the customers bought."""
    by_customer, by_basket = held.columns()
    sizes = np.diff(by_customer.indptr) + np.diff(by_basket.indptr)
    fs, plain = filesystem(folder)
    for batch in pa_dataset.dataset(plain, filesystem=fs, format="parquet").to_batches(batch_size=_PAIRS_AT_A_TIME):
        one, other = (batch.column(name).to_numpy() for name in ("item_idx", "other_idx"))
        known = np.flatnonzero(np.maximum(one, other) < by_customer.shape[1])
        one, other = one[known], other[known]
        is_bought = (sizes[one] > 0) & (sizes[other] > 0)
        one, other = one[is_bought], other[is_bought]
        for part in _parts(sizes[one] + sizes[other]):
            customers, baskets = (_both(matrix, one[part], other[part]) for matrix in (by_customer, by_basket))
            found = np.flatnonzero(customers)
            columns = (one[part][found], other[part][found], customers[found], baskets[found])
            names = [part.split()[0] for part in _COUNTS.split(", ")]
            yield pa.RecordBatch.from_arrays([pa.array(values.astype(np.int64)) for values in columns], names=names)


def _both(matrix: sparse.csc_matrix, one: Ints, other: Ints) -> Ints:
    """Rows in which both columns of each pair have a one."""
    return np.asarray(matrix[:, one].multiply(matrix[:, other]).sum(axis=0)).ravel()


def _parts(entries: Ints) -> Iterator[slice]:
    """Pairs in parts of bounded size; entries: of both columns of each pair."""
    reached, first = np.cumsum(entries), 0
    while first < len(entries):
        before = reached[first - 1] if first else 0
        last = max(int(np.searchsorted(reached, before + _ENTRIES_AT_A_TIME, side="right")), first + 1)
        yield slice(first, last)
        first = last
