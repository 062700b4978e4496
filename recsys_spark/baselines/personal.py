"""What the customer bought before, by frequency and recency, with recent popularity behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored


@dataclass(frozen=True)
class PersonalFrequency:
    """score(item) = sum over the customer's earlier events of the item of 2 ** (-days before / half_life_days)."""

    fitted: FittedPopularity
    half_life_days: float
    name: str = "personal_frequency"

    def popular(self) -> Popular:
        return self.fitted.behind()  # below every item of the customer's own

    def score(self, batch: QueryBatch) -> Scored:
        rows, positions = batch.earlier()
        weights = np.exp2(-batch.days_before(rows, positions) / self.half_life_days)
        return sum_pairs(rows, batch.events.items[positions], weights)


def sum_pairs(rows: np.ndarray, items: np.ndarray, weights: np.ndarray) -> Scored:
    """Add up the weights of equal (row, item) pairs, always in the same order."""
    width = int(items.max(initial=0)) + 1
    pairs, inverse = np.unique(rows * width + items, return_inverse=True)
    totals = np.bincount(inverse, weights=weights, minlength=len(pairs))
    return Scored(pairs // width, pairs % width, totals.astype(np.float64))
