"""What the customer bought before, by frequency and recency, with recent popularity behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_spark.arrays import items_of_keys, rows_of_keys
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.sequences.windows import MICROS_PER_DAY


@dataclass(frozen=True)
class PersonalFrequency:
    """score(item) = the sum over the customer's earlier events of the item that `decayed` takes."""

    fitted: FittedPopularity
    half_life_days: float
    name: str = "personal_frequency"

    def popular(self) -> Popular:
        return self.fitted.behind()  # below every item of the customer's own

    def score(self, batch: QueryBatch) -> Scored:
        return decayed(batch, self.half_life_days)


def decayed(batch: QueryBatch, half_life_days: float) -> Scored:
    """What each query's customer bought before it: the sum of 2 ** (-days / half_life_days) over an item's events.

    Days are counted back from the customer's last purchase and not from the query. That scales all scores of a query
    alike; counted from the query, those of a dormant customer would all be rounded to 0, and their order lost.
    """
    bought, micros = batch.purchases, batch.events.micros
    rows, pairs = rows_of_keys(bought.keys), bought.pairs
    last = np.maximum(batch.end - 1, 0)[rows]
    days = (micros[last][pairs] - micros[bought.events]) / MICROS_PER_DAY
    totals = np.bincount(pairs, weights=np.exp2(-days / half_life_days), minlength=len(rows))
    return Scored(rows, items_of_keys(bought.keys), totals.astype(np.float64))


def sum_pairs(rows: np.ndarray, items: np.ndarray, weights: np.ndarray) -> Scored:
    """Add up the weights of equal (row, item) pairs, always in the same order."""
    width = int(items.max(initial=0)) + 1
    pairs, inverse = np.unique(rows * width + items, return_inverse=True)
    totals = np.bincount(inverse, weights=weights, minlength=len(pairs))
    return Scored(pairs // width, pairs % width, totals.astype(np.float64))
