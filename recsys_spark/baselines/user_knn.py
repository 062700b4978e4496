"""UserKNN: what customers with similar purchases bought lately."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsys_spark.baselines.item_knn import neighbour_options, weighted_triples
from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.baselines.matrices import FittedTable, csr_of, rows_of
from recsys_spark.baselines.neighbours import find_neighbours
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import best_of_product, nothing_own, profiles, trend, trend_of
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.baselines.single_query import best_of_one, profile_of_one, row_of
from recsys_spark.contracts.model_config import KnnConfig
from recsys_spark.contracts.model_schemas import USER_NEIGHBOURS
from recsys_spark.sequences.windows import MICROS_PER_DAY

# The rows that cost are popular items, which have no cap.
_REMEDY = "take user_knn out of baselines.models and set candidates.quotas.user_knn to 0"


def fit_user_neighbours(source: DataFrame, config: KnnConfig, folder: str) -> DataFrame:
    """USER_NEIGHBOURS of a KNN_SOURCE: ItemKNN on the transposed matrix. Raises ConfigError above max_cost."""
    triples = weighted_triples(source, config.weighting, row="item_idx", col="user_idx")
    found = find_neighbours(triples, replace(neighbour_options(config), remedy=_REMEDY), folder)
    score = F.col("score").cast("double").alias("score")
    return found.select(
        F.col("col").alias("user_idx"), F.col("neighbour").alias("neighbour_idx"), score, "rank"
    ).select(*USER_NEIGHBOURS.names)


@dataclass(frozen=True)
class UserKnn:
    """score(item) = mean of activity(v, item) over the neighbours v of the query's customer, weighted by similarity,
    times trend(item) ** trend_exponent, plus self_weight * profile(item). The profile's days go back from the
    customer's last purchase: its own items weigh the same beside the neighbours' however long ago that was.

    activity(v, item) = 2 ** (-days / half_life_days) for an item that v last bought at most recent_days before the
    last event of the fit. A customer that the fit does not know has no neighbours.
    """

    fitted: FittedPopularity
    neighbours: FittedTable
    source: FittedTable
    config: KnnConfig
    name: str = "user_knn"

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        config = self.config
        if len(batch) == 1:
            return self._score_one(batch)
        active = _activity(self.source, config.half_life_days, config.recent_days)
        similar = rows_of(self.neighbours.csr("user_idx", "neighbour_idx", "score"), batch.users)
        mass = np.maximum(np.asarray(similar.sum(axis=1)).ravel(), 1e-12)
        shares = (sparse.diags(1.0 / mass, format="csr") @ similar).tocsr()
        shares.sort_indices()
        own = nothing_own(len(batch))
        if config.self_weight:
            own = config.self_weight * profiles(batch, config.half_life_days)
        factors = trend(self.fitted, config.trend_exponent, max(active.shape[1], own.shape[1]))
        return best_of_product(batch, shares, active, own, factors)

    def _score_one(self, batch: QueryBatch) -> Scored:
        config = self.config
        active = _activity(self.source, config.half_life_days, config.recent_days)
        similar = row_of(self.neighbours.csr("user_idx", "neighbour_idx", "score"), int(batch.users[0]))
        shares = similar.scaled(1.0 / max(similar.total, 1e-12))
        own = profile_of_one(batch, config.half_life_days).scaled(config.self_weight)
        product = shares.times(active)
        factors = trend_of(self.fitted, config.trend_exponent, product.columns)
        return best_of_one(batch, product, factors, own)


@mapped(2)
def _activity(source: FittedTable, half_life_days: float, recent_days: int) -> sparse.csr_matrix:
    """activity by customer and item, (users, items)."""
    table = read_columns(source.path, "user_idx", "item_idx", "last_time")
    micros = table.column("last_time").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    days = (micros.max(initial=0) - micros) / MICROS_PER_DAY
    recent = days <= recent_days
    rows, cols = numbers(table, "user_idx")[recent], numbers(table, "item_idx")[recent]
    return csr_of(rows, cols, np.exp2(-days[recent] / half_life_days))
