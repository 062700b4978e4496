"""(history, positive) rows and queries per split, by a NumPy kernel over customers' histories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.arrays import Ints, mix
from recsys_spark.contracts.columns import PAD_IDX, SPLITS
from recsys_spark.contracts.config import QueriesConfig, SequencesConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.schemas import QUERIES, SEQUENCES
from recsys_spark.part_files import map_batches
from recsys_spark.sequences.windows import ORDERS_PER_CUSTOMER, Events, window_values

Bounds = tuple[int, int]  # a split as microseconds: later than the first, up to and including the second
_CELLS_PER_BATCH = 1 << 19  # history items of a batch, 12 bytes each: more would not stay in a processor's cache
_TIMESTAMP = pa.timestamp("us", tz="UTC")
_END_OF_TIME = np.iinfo(np.int64).max


def split_bounds(split: str, cutoffs: dict[str, str]) -> Bounds:
    """The times that belong to a split."""
    train_end, val_end = _micros(cutoffs["train_end"]), _micros(cutoffs["val_end"])
    return dict(zip(SPLITS, ((-_END_OF_TIME, train_end), (train_end, val_end), (val_end, _END_OF_TIME)), strict=True))[
        split
    ]


def build_sequences(histories: DataFrame, bounds: Bounds, config: SequencesConfig) -> DataFrame:
    """SEQUENCES of a split: one row per event of a customer that has a strictly earlier event."""
    by_event = config.history_mode == "event"
    kernel = partial(_sequences_of, bounds=bounds, length=config.hist_max, by_event=by_event)
    return map_batches(histories, partial(_each_batch, kernel=kernel), SEQUENCES)


def build_queries(histories: DataFrame, bounds: Bounds, config: QueriesConfig) -> DataFrame:
    """QUERIES of a split: one row per customer and time that has a strictly earlier event."""
    kernel = partial(_queries_of, bounds=bounds, length=config.hist_max, max_positives=config.max_positives)
    return map_batches(histories, partial(_each_batch, kernel=kernel), QUERIES)


def _each_batch(
    batches: Iterable[pa.RecordBatch], kernel: Callable[[pa.RecordBatch, Events], Iterator[pa.RecordBatch]]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        items, micros = batch.column("items"), batch.column("micros")
        offsets = items.offsets.to_numpy().astype(np.int64)
        events = Events(
            offsets - offsets[0], items.flatten().to_numpy(zero_copy_only=False), micros.flatten().to_numpy()
        )
        yield from kernel(batch, events)


def _sequences_of(
    batch: pa.RecordBatch, events: Events, bounds: Bounds, length: int, by_event: bool
) -> Iterator[pa.RecordBatch]:
    users = np.repeat(batch.column("user_idx").to_numpy(), np.diff(events.offsets))
    amounts = batch.column("amounts").flatten().to_numpy(zero_copy_only=False)
    start, order_start = events.customer_start, events.order_start
    is_repeat = events.first_bought < order_start
    query_ids = _query_ids(users, events.order_number)
    chosen = np.flatnonzero((order_start > start) & _within(events.micros, bounds))
    for rows in _chunks(chosen, length):
        end = rows if by_event else order_start[rows]
        # The lines of a basket share a window: a tenth of them to look up.
        new = np.flatnonzero(np.diff(end, prepend=-1))
        windows = window_values(events, start[rows[new]], end[new], events.micros[rows[new]], length)
        items, days, lengths = (np.repeat(each, np.diff(new, append=len(rows)), axis=0) for each in windows)
        columns = {
            "query_id": pa.array(query_ids[rows]),
            "user_idx": pa.array(users[rows]),
            "pos_item_idx": pa.array(events.items[rows]),
            "event_time": pa.array(events.micros[rows]).cast(_TIMESTAMP),
            "history": _lists(items),
            "history_days": _lists(days),
            "hist_len": pa.array(lengths),
            "line_amount": pa.array(amounts[rows]),
            "is_repeat": pa.array(is_repeat[rows]),
        }
        yield pa.RecordBatch.from_arrays([columns[name] for name in SEQUENCES.names], names=SEQUENCES.names)


def _queries_of(
    batch: pa.RecordBatch, events: Events, bounds: Bounds, length: int, max_positives: int
) -> Iterator[pa.RecordBatch]:
    sizes = np.diff(events.offsets)
    users = np.repeat(batch.column("user_idx").to_numpy(), sizes)
    customers = np.repeat(np.arange(len(sizes)), sizes)
    start, order_start = events.customer_start, events.order_start
    query_ids = _query_ids(users, events.order_number)
    firsts = np.flatnonzero(order_start == np.arange(len(order_start)))
    order_end = np.append(firsts, len(order_start))
    chosen = firsts[(firsts > start[firsts]) & _within(events.micros[firsts], bounds)]
    for rows in _chunks(chosen, length):
        items, days, lengths = window_values(events, start[rows], rows, events.micros[rows], length)
        ends = order_end[np.searchsorted(firsts, rows) + 1]
        columns = {
            "query_id": pa.array(query_ids[rows]),
            "user_idx": pa.array(users[rows]),
            "customer_id": batch.column("customer_id").take(pa.array(customers[rows])),
            "event_time": pa.array(events.micros[rows]).cast(_TIMESTAMP),
            "history": _lists(items),
            "history_days": _lists(days),
            "hist_len": pa.array(lengths),
            "positives": _lists(_positives(events.items, rows, ends, query_ids[rows], max_positives)),
            "num_positives": pa.array(ends - rows),
        }
        yield pa.RecordBatch.from_arrays([columns[name] for name in QUERIES.names], names=QUERIES.names)


def _positives(items: Ints, starts: Ints, ends: Ints, query_ids: Ints, max_positives: int) -> Ints:
    """Items of each basket (num_queries, max_positives), right-padded; of a larger basket those of least hash."""
    positions = starts[:, None] + np.arange(max_positives)
    exists = positions < ends[:, None]
    padded = np.where(exists, items[np.where(exists, positions, 0)], PAD_IDX)
    for row in np.flatnonzero(ends - starts > max_positives).tolist():
        basket = items[starts[row] : ends[row]]
        kept = np.argsort(mix(basket ^ mix(query_ids[row : row + 1]).astype(np.int64)), kind="stable")[:max_positives]
        padded[row] = basket[np.sort(kept)]
    return padded


def _query_ids(users: Ints, order_numbers: Ints) -> Ints:
    if len(order_numbers) and order_numbers.max() >= ORDERS_PER_CUSTOMER:
        raise DataError(f"a customer has {order_numbers.max():,} orders; query ids hold {ORDERS_PER_CUSTOMER:,}")
    return users * ORDERS_PER_CUSTOMER + order_numbers


def _within(micros: Ints, bounds: Bounds) -> np.ndarray:
    return (micros > bounds[0]) & (micros <= bounds[1])


def _chunks(rows: Ints, length: int) -> Iterator[Ints]:
    size = max(_CELLS_PER_BATCH // length, 1)
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _lists(matrix: np.ndarray) -> pa.ListArray:
    """Each row of a matrix as a list."""
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.ravel()))


def _micros(iso: str) -> int:
    moment = datetime.fromisoformat(iso).replace(tzinfo=timezone.utc)
    return round((moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds() * 1_000_000)
