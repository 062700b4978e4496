"""What sells lately in the categories that the customer buys from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.baselines.matrices import FittedTable, csr_of
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import best_of_product, fitted_to, nothing_own, profiles
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.baselines.single_query import best_of_one, profile_of_one
from recsys_spark.contracts.model_schemas import CATEGORY_POPULARITY
from recsys_spark.sequences.split import cutoff

_ITEMS_PER_CATEGORY = 1000  # the best sellers; behind them stand the popular items of all categories


def fit_category_popularity(
    interactions: DataFrame, item_ids: DataFrame, popularity: DataFrame, cutoff_time: str
) -> DataFrame:
    """CATEGORY_POPULARITY of an ITEM_POPULARITY; an item's category is that of its latest line that has one."""
    known = interactions.filter(F.col("invoice_date") <= cutoff(cutoff_time))
    named = F.when(F.col("category").isNotNull(), F.struct("invoice_date", "category"))
    latest = known.groupBy("stock_code").agg(F.max(named)["category"].alias("category"))
    indexed = latest.join(item_ids, on="stock_code", how="inner")
    counted = popularity.join(indexed, on="item_idx", how="left").fillna("", subset=["category"])
    return counted.select(*CATEGORY_POPULARITY.names)


@dataclass(frozen=True)
class CategoryPopularity:
    """score(item) = (weight of the item's category in the profile) * (the item's share of its recent sales)."""

    fitted: FittedPopularity
    categories: FittedTable
    half_life_days: float
    name: str = "category_popularity"

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        category_of, shares = _matrices(self.categories)
        if len(batch) == 1:
            product = profile_of_one(batch, self.half_life_days).times(category_of).times(shares)
            return best_of_one(batch, product, np.ones(len(product.columns)))
        bought = fitted_to(profiles(batch, self.half_life_days), category_of.shape[0])
        left = (bought @ category_of).tocsr()
        return best_of_product(batch, left, shares, nothing_own(len(batch)), np.ones(shares.shape[1]))


@mapped(2)
def _matrices(table: FittedTable) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """A one at (item, category), and shares of recent sales at (category, item)."""
    columns = read_columns(table.path)
    items, recent = numbers(columns, "item_idx"), numbers(columns, "num_recent_events").astype(np.float64)
    names, place = np.unique(columns.column("category").to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    totals = np.bincount(place, weights=recent, minlength=len(names))
    order = np.lexsort((items, -recent, place))
    first = np.searchsorted(place[order], np.arange(len(names)))
    best = order[np.arange(len(order)) - first[place[order]] < _ITEMS_PER_CATEGORY]
    best = best[recent[best] > 0]
    shares = csr_of(place[best], items[best], recent[best] / totals[place[best]])
    shares.resize((len(names), shares.shape[1]))
    return csr_of(items, place, np.ones(len(items)), num_columns=len(names)), shares
