"""EASE in Spark: one task inverts, then every core makes the weights of some items (the model: `ease_solution`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from scipy import sparse

from recsys_spark.arrays import Ints
from recsys_spark.baselines.ease_solution import EaseSolution, solve
from recsys_spark.baselines.scratch_arrays import load_arrays, save_arrays
from recsys_spark.contracts.locations import is_on_disk
from recsys_spark.contracts.model_config import EaseConfig
from recsys_spark.contracts.model_schemas import EASE_WEIGHTS

_CHOSEN = "chosen"  # item_idx of the items of the solution, ascending
_PACKED_DDL = "items bigint, bytes bigint"
_BLOCK_BYTES = 4 << 20  # of the dense weights that exist at a time: they stay in the cache
_SHARED_BYTES = 1 << 28  # of a solution that many tasks of a machine may each read into memory


def fit_ease_weights(source: DataFrame, config: EaseConfig, folder: str) -> DataFrame:
    """EASE_WEIGHTS of a KNN_SOURCE, the num_weights largest by size per item.

    Items of fewer than min_customers customers take no part. Where both customers and items are more than max_rank,
    the max_rank items with the most customers stay, ties by index: the matrix that is inverted takes 8 max_rank^2
    bytes, its inverse lies in the same place, and all else is made some rows at a time.
    folder: empty, and reached by all executors, until the weights are written: a local path or a URI.
    """
    spark = source.sparkSession
    entries = source.select("user_idx", "item_idx").coalesce(1)
    packed = entries.mapInArrow(_packer(config, folder), _PACKED_DDL).collect()
    num_items, num_bytes = packed[0] if packed else (0, 0)
    width = max(_BLOCK_BYTES // (8 * max(num_items, 1)), 1)
    starts = spark.range(0, num_items, width)
    if num_bytes > _SHARED_BYTES and not is_on_disk(folder):  # elsewhere tasks map the same pages
        starts = starts.coalesce(1)
    return starts.mapInArrow(_weigher(folder, width, config.num_weights), EASE_WEIGHTS.ddl)


def _packer(config: EaseConfig, folder: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the solution below the folder; yields the number of its items and its bytes, nothing without items."""
        parts = [[column.to_numpy() for column in batch.columns] for batch in batches if batch.num_rows]
        if not parts:
            return
        users, items = (np.concatenate(column) for column in zip(*parts, strict=True))
        chosen = _chosen_items(users, items, config)
        if len(chosen) == 0:  # no item with enough customers
            return
        keep = np.isin(items, chosen)
        known_users, rows = np.unique(users[keep], return_inverse=True)
        ones = np.ones(len(rows))
        shape = (len(known_users), len(chosen))
        matrix = sparse.csr_matrix((ones, (rows, np.searchsorted(chosen, items[keep]))), shape=shape)
        arrays = {_CHOSEN: chosen, **solve(matrix, config.l2).arrays()}
        save_arrays(folder, arrays)
        told = len(chosen), sum(values.nbytes for values in arrays.values())
        yield pa.RecordBatch.from_arrays([pa.array([number]) for number in told], names=["items", "bytes"])

    return pack


def _chosen_items(users: Ints, items: Ints, config: EaseConfig) -> Ints:
    """The items that take part, ascending."""
    customers = np.bincount(items)  # a KNN_SOURCE has one row per customer and item
    common = np.flatnonzero(customers >= config.min_customers)
    if min(len(common), len(np.unique(users))) <= config.max_rank:
        return common
    return np.sort(common[np.lexsort((common, -customers[common]))][: config.max_rank])


def _weigher(
    folder: str, width: int, num_weights: int
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def weigh(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """EASE_WEIGHTS of the items from each start on, `width` of them."""
        starts = [start for batch in batches for start in batch.column(0).to_pylist()]
        if not starts:
            return
        left = load_arrays(folder, (_CHOSEN, *EaseSolution.ARRAYS))
        chosen, solution = left[_CHOSEN], EaseSolution.of_arrays(left)
        for start in starts:
            targets = np.arange(start, min(start + width, len(chosen)))
            owners, sources, weights, ranks = solution.largest_weights(targets, num_weights)
            arrays = [chosen[owners], chosen[sources], weights, ranks.astype(np.int32)]
            yield pa.RecordBatch.from_arrays([pa.array(values) for values in arrays], names=EASE_WEIGHTS.names)

    return weigh
