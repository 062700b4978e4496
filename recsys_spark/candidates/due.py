"""What the customer buys again and again and is about to need, by the mean gap between purchases of an item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_spark.arrays import items_of_keys, rows_of_keys
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.sequences.windows import MICROS_PER_DAY


@dataclass(frozen=True)
class DueItems:
    """score(item) = log(1 + times bought) * min(g, s) / max(g, s), of items that were bought at least twice.

    g: mean days between the purchases, s: days since the last one, one day added to each.
    """

    fitted: FittedPopularity
    name: str = "due"

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        every = batch.purchases
        again = np.flatnonzero(every.times > 1)
        rows, micros = rows_of_keys(every.keys[again]), batch.events.micros
        last, times = micros[every.last[again]], every.times[again]
        gap = (last - micros[every.first[again]]) / MICROS_PER_DAY / (times - 1) + 1
        since = (batch.micros[rows] - last) / MICROS_PER_DAY + 1
        scores = np.log1p(times) * np.minimum(gap, since) / np.maximum(gap, since)
        return Scored(rows, items_of_keys(every.keys[again]), scores)
