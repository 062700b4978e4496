"""Each customer's events, and what is proposed to it at the bundle's moment, from Spark tasks to arrays on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import open_memmap
from pyspark.sql import DataFrame

from recsys_spark.arrays import Ints, places_by_size
from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.candidates.retrieve import as_lists, bounds_of
from recsys_spark.contracts.schemas import Column, Table
from recsys_spark.part_files import map_batches, parts_of
from recsys_spark.paths import filesystem
from recsys_spark.ranker.two_stage import TwoStageModel

_QUERIES_AT_A_TIME = 256  # bounds the memory of their candidates' features
_ROWS_AT_A_TIME = 256
_EVENT_COLUMNS = {
    "items": np.int64,
    "micros": np.int64,
    "quantities": np.float64,
    "showrooms": np.int64,
    "channels": np.int64,
}
_BARRED_COLUMNS = {"barred_items": np.int64}
_OFFER_COLUMNS = {"offer_items": np.int64, "offer_ranks": np.int32, "offer_features": np.float32}

SERVED_CUSTOMERS = Table(
    grain=("user_idx",),
    columns=(
        Column("user_idx", "bigint", "customer"),
        Column("items", "array<bigint>", "item_idx of the events in time order"),
        Column("micros", "array<bigint>", "their times, microseconds since 1970, UTC"),
        Column("quantities", "array<double>", "their quantities"),
        Column("showrooms", "array<bigint>", "hashes of their showrooms, 0 for none"),
        Column("channels", "array<bigint>", "hashes of their sales channels, 0 for none"),
        Column("offer_items", "array<bigint>", "item_idx of the candidates, best first"),
        Column("offer_ranks", "array<int>", "rank in each source, candidate by candidate; 0 for none"),
        Column("offer_features", "array<float>", "features of the ranker, candidate by candidate"),
        Column("barred_items", "array<bigint>", "item_idx that are not to be recommended to the customer"),
    ),
)


@dataclass(frozen=True)
class CustomersKernel:
    """From frames of `with_queries`, one query per customer, to SERVED_CUSTOMERS; without a model nothing is offered.

    features: those that the ranker scores, in its order.
    """

    model: TwoStageModel | None
    features: tuple[str, ...]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for arrow in batches:
            for whole in query_batches(arrow):
                for first in range(0, len(whole), _QUERIES_AT_A_TIME):
                    batch = whole.part(slice(first, first + _QUERIES_AT_A_TIME))
                    asked = arrow.take(pa.array(batch.customers))
                    events = {name: asked.column(name) for name in _EVENT_COLUMNS}
                    barred = {"barred_items": _barred(asked)}
                    columns = {"user_idx": pa.array(batch.users), **events, **self._offers(batch), **barred}
                    yield pa.RecordBatch.from_pydict({name: columns[name] for name in SERVED_CUSTOMERS.names})

    def _offers(self, batch: QueryBatch) -> dict[str, pa.Array]:
        if self.model is None:
            nothing = np.zeros(len(batch) + 1, dtype=np.int64)
            kinds = (pa.int64(), pa.int32(), pa.float32())
            return {
                name: as_lists(nothing, nothing[:0], kind) for name, kind in zip(_OFFER_COLUMNS, kinds, strict=True)
            }
        candidates = self.model.retriever.propose(batch)
        columns = self.model.builder.columns(batch, candidates)
        told = np.stack([columns[name] for name in self.features], axis=1)
        bounds = bounds_of(candidates.rows, len(batch))
        return {
            "offer_items": as_lists(bounds, candidates.items, pa.int64()),
            "offer_ranks": as_lists(bounds * candidates.ranks.shape[1], candidates.ranks.ravel(), pa.int32()),
            "offer_features": as_lists(bounds * told.shape[1], told.ravel(), pa.float32()),
        }


def write_customers(asked: DataFrame, kernel: CustomersKernel, scratch: str, folder: Path, num_customers: int) -> None:
    """The arrays of `CustomerArrays` in the folder. asked: of `with_queries`, with `excluded` where there are
    exclusions; scratch: a folder to be, that all executors reach.
    """
    fs, plain = filesystem(scratch)
    fs.makedirs(plain, exist_ok=True)
    frame = map_batches(asked, kernel, SERVED_CUSTOMERS)
    parts = parts_of(frame, scratch)
    assert parts is not None  # map_batches made the frame
    files = sorted(f"{scratch}/{part['name']}" for part in parts.collect())
    num_sources = len(kernel.model.builder.sources) if kernel.model else 0
    widths = {"offer_ranks": (num_sources,), "offer_features": (len(kernel.features),)}
    groups: dict[str, Mapping[str, Any]] = {"event": _EVENT_COLUMNS, "offer": _OFFER_COLUMNS, "barred": _BARRED_COLUMNS}
    first_columns = [next(iter(columns)) for columns in groups.values()]
    sizes = np.zeros((len(groups), num_customers + 1), dtype=np.int64)
    for rows in _batches(files, ("user_idx", *first_columns)):
        sizes[:, rows.column("user_idx").to_numpy()] = [_lengths(rows, name) for name in first_columns]
    for (group, columns), each in zip(groups.items(), sizes, strict=True):
        offsets = np.concatenate([[0], np.cumsum(each)])
        np.save(folder / f"{group}_offsets.npy", offsets)
        for name, kind in columns.items():
            _lay_out(folder / f"{name}.npy", files, name, offsets, np.dtype(kind), widths.get(name, ()))


def _barred(asked: pa.RecordBatch) -> pa.Array:
    """The column `excluded` of some customers, empty for those without."""
    if "excluded" not in asked.schema.names:
        return as_lists(np.zeros(asked.num_rows + 1, dtype=np.int64), np.zeros(0, dtype=np.int64), pa.int64())
    excluded = asked.column("excluded")
    sizes = excluded.value_lengths().fill_null(0).to_numpy()
    return as_lists(np.concatenate([[0], np.cumsum(sizes)]), excluded.flatten().to_numpy(), pa.int64())


def _lay_out(
    path: Path, files: Sequence[str], name: str, offsets: Ints, kind: np.dtype, width: tuple[int, ...]
) -> None:
    """A list column, each customer's part where its offsets say; in rows of `width`."""
    shape = (int(offsets[-1]), *width)
    if 0 in shape:
        np.save(path, np.zeros(shape, dtype=kind))
        return
    out = open_memmap(path, mode="w+", dtype=kind, shape=shape)
    for rows in _batches(files, ("user_idx", name)):
        starts, users = rows.column(name), rows.column("user_idx").to_numpy()
        values = starts.flatten().to_numpy(zero_copy_only=False).reshape(-1, *width)
        sizes = offsets[users + 1] - offsets[users]
        within = places_by_size(sizes)
        out[np.repeat(offsets[users], sizes) + within] = values
    out.flush()


def _batches(files: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for file in files:
        fs, plain = filesystem(file)
        with fs.open(plain, "rb") as opened:
            yield from pq.ParquetFile(opened).iter_batches(_ROWS_AT_A_TIME, columns=list(columns))


def _lengths(rows: pa.RecordBatch, name: str) -> Ints:
    return np.diff(rows.column(name).offsets.to_numpy()).astype(np.int64)
