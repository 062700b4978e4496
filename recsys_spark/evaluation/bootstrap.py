"""Poisson bootstrap over customers: every replicate's sums in one pass over the data.

Resampling n customers with replacement gives each a count that is close to Poisson(1), and independent counts need no
knowledge of n (Chamandy et al., "Estimating uncertainty for massive data streams", Google 2012). A customer's counts
are a hash of customer, replicate and seed: the same for every model, so differences are paired, and for every
partitioning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import exp, factorial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.arrays import GOLDEN, finalised
from recsys_spark.evaluation.exact import coarse_and_fine

# Rows of the frame that is resampled: sums of one customer in one cell, such as a model under a protocol.
CELLS_DDL = "user_idx bigint, cell string, values array<double>"
SUMS_DDL = "cell string, sums binary"
_SUMS_ARROW = pa.schema([("cell", pa.string()), ("sums", pa.binary())])
_LANES = 4  # 16-bit numbers in one 64-bit hash


def _poisson_table() -> np.ndarray:
    """Inverse distribution function of Poisson(1) at the 65,536 midpoints of [0, 1)."""
    cumulative = np.cumsum([exp(-1) / factorial(count) for count in range(9)])
    return np.searchsorted(cumulative, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.uint8)


_COUNT_OF = _poisson_table()


def poisson_weights(customers: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """How often each replicate draws each customer, (customers, replicates) of uint8."""
    with np.errstate(over="ignore"):
        state = finalised(customers.astype(np.uint64) * _ODD + finalised(np.array([seed], dtype=np.uint64)))
        steps = np.arange(1, -(-replicates // _LANES) + 1, dtype=np.uint64) * GOLDEN
        hashes = finalised(state[:, None] + steps[None, :])
    return _COUNT_OF[hashes.astype("<u8").view("<u2")[:, :replicates]]


_ODD = np.uint64(0xD1B54A32D192ED03)


def resampled_sums(cells: DataFrame, replicates: int, seed: int) -> DataFrame:
    """Sums of every cell over all customers: as they are, then in each replicate.

    cells: CELLS_DDL, all rows of a cell with as many values; rows of one customer and cell add up, exactly (`exact`).
    Returns one row per cell; `read_sums` reads its `sums`. What is sent on is 2 x replicates x values per cell and
    partition, whatever the number of customers.
    """

    def add_customers(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals: dict[str, np.ndarray] = {}
        for batch in batches:
            for cell, sums in _weighted_sums(batch, replicates, seed):
                totals[cell] = totals[cell] + sums if cell in totals else sums
        yield _as_batch(totals)

    def add_partitions(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals: dict[str, np.ndarray] = {}
        for batch in batches:
            for cell, sums in zip(batch.column("cell").to_pylist(), batch.column("sums"), strict=True):
                part = np.frombuffer(sums.as_buffer(), dtype="<f8").reshape(2, -1)
                totals[cell] = totals[cell] + part if cell in totals else part
        yield _as_batch({cell: coarse + fine for cell, (coarse, fine) in totals.items()})

    # In order of customers a batch holds few of them, so their weights are drawn once and stay in the cache.
    by_customer = cells.repartition("user_idx").sortWithinPartitions("user_idx")
    return by_customer.mapInArrow(add_customers, SUMS_DDL).repartition("cell").mapInArrow(add_partitions, SUMS_DDL)


def read_sums(sums: bytes, replicates: int) -> np.ndarray:
    """The sums of one cell, (1 + replicates, values); row 0 has every customer once."""
    return np.frombuffer(sums, dtype="<f8").reshape(1 + replicates, -1)


def _weighted_sums(batch: pa.RecordBatch, replicates: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each cell of the batch with its sums, (2, 1 + replicates, values): the coarse parts and the fine ones."""
    if not batch.num_rows:
        return
    customers, customer_of_row = np.unique(batch.column("user_idx").to_numpy(), return_inverse=True)
    weights = np.ones((len(customers), 1 + replicates))
    weights[:, 1:] = poisson_weights(customers, replicates, seed)
    lists, cells = batch.column("values"), batch.column("cell").dictionary_encode()
    offsets, codes = lists.offsets.to_numpy(), cells.indices.to_numpy()
    lengths = np.diff(offsets)
    widths = np.zeros(len(cells.dictionary), dtype=np.int64)
    widths[codes] = lengths
    starts = np.cumsum(widths) - widths
    # All cells side by side, (customers, values of all cells), so that one product serves them all.
    place = np.arange(lengths.sum()) + np.repeat(starts[codes] - (offsets[:-1] - offsets[0]), lengths)
    shape = len(customers), widths.sum()
    number = np.repeat(customer_of_row, lengths) * shape[1] + place
    coarse, fine = (
        weights.T @ np.bincount(number, part, shape[0] * shape[1]).reshape(shape)
        for part in coarse_and_fine(lists.flatten().to_numpy())
    )
    for cell, start, width in zip(cells.dictionary.to_pylist(), starts, widths, strict=True):
        at = slice(start, start + width)
        yield cell, np.stack([coarse[:, at], fine[:, at]])


def _as_batch(totals: dict[str, np.ndarray]) -> pa.RecordBatch:
    sums = [values.astype("<f8").tobytes() for values in totals.values()]
    return pa.RecordBatch.from_arrays(
        [pa.array(list(totals), pa.string()), pa.array(sums, pa.binary())], schema=_SUMS_ARROW
    )
