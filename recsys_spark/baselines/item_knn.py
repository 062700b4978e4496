"""ItemKNN: items bought by the same customers as those in the profile. Its scorer serves EASE as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsys_spark.baselines import weights
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.neighbours import NeighbourOptions, find_neighbours
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import (
    best_of_product,
    heaviest_of_rows,
    nothing_own,
    profiles,
    raised,
    trend,
    trend_of,
)
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.baselines.single_query import best_of_one, profile_of_one
from recsys_spark.contracts.model_config import KnnConfig
from recsys_spark.contracts.model_schemas import ITEM_NEIGHBOURS


def fit_item_neighbours(source: DataFrame, config: KnnConfig, folder: str) -> DataFrame:
    """ITEM_NEIGHBOURS of a KNN_SOURCE, capped by then. folder: empty; scratch that all executors reach."""
    triples = weighted_triples(source, config.weighting, row="user_idx", col="item_idx")
    found = find_neighbours(triples, neighbour_options(config), folder)
    score = F.col("score").cast("double").alias("score")
    return found.select(
        F.col("col").alias("item_idx"), F.col("neighbour").alias("neighbour_idx"), score, "rank"
    ).select(*ITEM_NEIGHBOURS.names)


def weighted_triples(source: DataFrame, weighting: str, *, row: str, col: str) -> DataFrame:
    """A KNN_SOURCE as (row, col, weight); TF-IDF and BM25 start from the number of purchases."""
    start = "quantity" if weighting == "log_quantity" else "num_events"
    index = (F.col(row).alias("row"), F.col(col).alias("col"))
    triples = source.select(*index, F.col(start).cast("double").alias("weight"))
    weigh = {
        "binary": weights.binary,
        "log_quantity": weights.log_quantity,
        "tf_idf": weights.tf_idf,
        "bm25": weights.bm25,
    }
    return weigh[weighting](triples)


def neighbour_options(config: KnnConfig) -> NeighbourOptions:
    return NeighbourOptions(
        num_neighbours=config.num_neighbours,
        shrinkage=config.shrinkage,
        min_support=config.min_support,
        task_memory_mb=config.task_memory_mb,
        max_cost=config.max_cost,
    )


@dataclass(frozen=True)
class NeighbourModel:
    """Scores profile ** e . weights(., item) * trend(item) ** trend_exponent + self_weight * mass * profile(item).

    e: profile_exponent; below 1 what is bought often speaks less for its neighbours, 0 counts every item once.
    mass: the sum of the profile, so that repeats weigh alike for customers of few and of many purchases. The profile's
    days go back from the customer's last purchase, so repeats weigh alike too however long ago that was.
    neighbours: a table of neighbours. by_target: its item_idx is the item that is scored (EASE), not the one in the
    profile (ItemKNN). profile_items: the heaviest of the profile, whose neighbours are looked at; 0 for all. With 100
    of some 470 items of a profile, as on Complete Journey, ItemKNN finds as much as with all, in a third of the time;
    EASE needs all.
    """

    name: str
    fitted: FittedPopularity
    neighbours: FittedTable
    half_life_days: float
    self_weight: float
    trend_exponent: float
    profile_exponent: float = 1.0
    by_target: bool = False
    profile_items: int = 0

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        row, col = ("neighbour_idx", "item_idx") if self.by_target else ("item_idx", "neighbour_idx")
        found = self.neighbours.csr(row, col, "score")
        if len(batch) == 1:
            return self._score_one(batch, found)
        bought = profiles(batch, self.half_life_days)
        factors = trend(self.fitted, self.trend_exponent, max(found.shape[1], bought.shape[1]))
        own = nothing_own(len(batch))
        if self.self_weight:
            mass = np.asarray(bought.sum(axis=1)).ravel()
            own = (sparse.diags(self.self_weight * mass, format="csr") @ bought).tocsr()
        heaviest = heaviest_of_rows(bought, self.profile_items) if self.profile_items else bought
        return best_of_product(batch, raised(heaviest, self.profile_exponent), found, own, factors)

    def _score_one(self, batch: QueryBatch, found: sparse.csr_matrix) -> Scored:
        bought = profile_of_one(batch, self.half_life_days)
        heaviest = bought.heaviest(self.profile_items) if self.profile_items else bought
        product = heaviest.raised(self.profile_exponent).times(found)
        factors = trend_of(self.fitted, self.trend_exponent, product.columns)
        return best_of_one(batch, product, factors, bought.scaled(self.self_weight * bought.total))
