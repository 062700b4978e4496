"""A weighted sum of models, each scaled to a largest score of 1 per query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_spark.arrays import Ints, places_by_size
from recsys_spark.baselines.personal import sum_pairs
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import num_wanted, together
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Model, Popular, Scored


@dataclass(frozen=True)
class Blend:
    """score(item) = sum over parts of weight * score of the part / its largest score for the query, and recent
    popularity likewise, of as many popular items as a list can need.
    """

    fitted: FittedPopularity
    parts: tuple[tuple[Model, float], ...]
    popularity_weight: float
    name: str = "blend"

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        found = [_scaled(model.score(batch), weight, len(batch)) for model, weight in self.parts if weight > 0]
        if self.popularity_weight > 0:
            found.append(_scaled(self._popular_items(num_wanted(batch)), self.popularity_weight, len(batch)))
        every = together(found)
        return sum_pairs(every.rows, every.items, every.scores)

    def _popular_items(self, wanted: Ints) -> Scored:
        order = self.fitted.order(by_recent=True)
        sizes = np.minimum(wanted, np.count_nonzero(order.scores))
        places = places_by_size(sizes)
        return Scored(np.repeat(np.arange(len(wanted)), sizes), order.items[places], order.scores[places])


def _scaled(scored: Scored, weight: float, num_queries: int) -> Scored:
    largest = np.zeros(num_queries)
    np.maximum.at(largest, scored.rows, scored.scores)
    keep = scored.scores > 0
    rows = scored.rows[keep]
    return Scored(rows, scored.items[keep], weight * scored.scores[keep] / largest[rows])
