"""TIFU-KNN (Hu et al., SIGIR 2020): personalised item frequencies, mixed with those of the nearest customers.

A customer's baskets, counted back from the newest, form groups of group_size; the oldest group may be smaller. A basket
that is the p-th of group g (both from 0, newest first) adds within_decay^p group_decay^g / (size of g * groups) to each
of its items. Nearest is by Euclidean distance, among the customers with an item in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsys_spark.arrays import Floats, order_best_first, places_by_group
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.personal import sum_pairs
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import as_rows, best_of_product, fitted_to, row_parts
from recsys_spark.baselines.query_batches import QueryBatch, query_batches, with_queries
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.contracts.model_config import TifuConfig
from recsys_spark.contracts.model_schemas import TIFU_VECTORS
from recsys_spark.sequences.split import cutoff


def fit_tifu_vectors(histories: DataFrame, cutoff_time: str, config: TifuConfig) -> DataFrame:
    """TIFU_VECTORS of all customers with an event up to the cutoff. histories: of `customer_histories`."""
    just_after = cutoff(cutoff_time) + F.expr("interval 1 microsecond")
    moments = histories.select(
        "user_idx", "customer_id", F.col("user_idx").alias("query_id"), just_after.alias("event_time")
    )
    return with_queries(histories, moments).mapInArrow(_vector_maker(config), TIFU_VECTORS.ddl)


def frequencies(batch: QueryBatch, config: TifuConfig) -> Scored:
    """The vector of each query's customer just before it."""
    rows, positions = batch.earlier()
    if len(rows) == 0:
        return Scored(rows, rows, np.zeros(0))
    numbers = batch.events.order_number
    num_baskets = numbers[np.maximum(batch.end - 1, 0)][rows]
    group, place = np.divmod(num_baskets - numbers[positions], config.group_size)
    num_groups = -(-num_baskets // config.group_size)
    oldest_size = num_baskets - (num_groups - 1) * config.group_size
    size = np.where(group == num_groups - 1, oldest_size, config.group_size)
    weights = config.within_decay**place * config.group_decay**group / (size * num_groups)
    return sum_pairs(rows, batch.events.items[positions], weights)


@dataclass(frozen=True)
class TifuKnn:
    """score(item) = alpha * own frequency + (1 - alpha) * mean frequency of the num_neighbours nearest customers."""

    fitted: FittedPopularity
    vectors: FittedTable
    config: TifuConfig
    name: str = "tifu_knn"

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        others = self.vectors.csr("user_idx", "item_idx", "weight")
        own = as_rows(frequencies(batch, self.config), len(batch))
        by_item, squares = _by_item(self.vectors)
        shares = nearest(fitted_to(own, others.shape[1]), by_item, squares, batch.users, self.config.num_neighbours)
        mix = np.full(max(own.shape[1], others.shape[1]), 1.0 - self.config.alpha)
        return best_of_product(batch, shares, others, self.config.alpha * own, mix)


@mapped(2)
def _by_item(table: FittedTable) -> tuple[sparse.csr_matrix, Floats]:
    """TIFU_VECTORS as (items, users), and the sum of squares of each customer's."""
    others = table.csr("user_idx", "item_idx", "weight")
    return others.T.tocsr(), _squares(others)


def _squares(rows: sparse.csr_matrix) -> Floats:
    return np.asarray(rows.multiply(rows).sum(axis=1)).ravel()


def nearest(
    own: sparse.csr_matrix, by_item: sparse.csr_matrix, squares: Floats, users: np.ndarray, k: int
) -> sparse.csr_matrix:
    """1 / (number of neighbours) at each of a query's k nearest other customers, (Q, users); ties by index."""
    own_squares = _squares(own)
    kept_rows, kept_users = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for part in row_parts(own, by_item):
        shared = (own[part] @ by_item).tocoo()
        rows, found = shared.row + part.start, shared.col
        distances = np.round(own_squares[rows] + squares[found] - 2 * shared.data, 12)
        other = found != users[rows]
        rows, found, distances = rows[other], found[other], distances[other]
        order = order_best_first(rows, found, -distances)
        rows, found = rows[order], found[order]
        rank = places_by_group(rows)
        kept_rows.append(rows[rank < k].astype(np.int64))
        kept_users.append(found[rank < k].astype(np.int64))
    rows, found = np.concatenate(kept_rows), np.concatenate(kept_users)
    weights = 1.0 / np.bincount(rows, minlength=own.shape[0])[rows]
    chosen = sparse.csr_matrix((weights, (rows, found)), shape=(own.shape[0], by_item.shape[1]))
    chosen.sort_indices()
    return chosen


def _vector_maker(config: TifuConfig) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for arrow in batches:
            for batch in query_batches(arrow):
                found = frequencies(batch, config)
                arrays = [batch.users[found.rows], found.items, found.scores]
                yield pa.RecordBatch.from_arrays([pa.array(values) for values in arrays], names=TIFU_VECTORS.names)

    return make
