"""What is bought together with the items of the customer's last order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys_spark.baselines.item_knn import NeighbourModel
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored


@dataclass(frozen=True)
class LastBasket:
    """ItemKNN over the items of the last order before the query alone."""

    neighbours: NeighbourModel
    name: str = "last_basket"

    def popular(self) -> Popular:
        return self.neighbours.popular()

    def score(self, batch: QueryBatch) -> Scored:
        return self.neighbours.score(replace(batch, start=last_order_start(batch)))


def last_order_start(batch: QueryBatch) -> np.ndarray:
    """Position of the first event of the last order before each query, (Q,); its end where there is none."""
    if len(batch.events.items) == 0:
        return batch.end
    has_one = batch.end > batch.start
    return np.where(has_one, batch.events.order_start[np.maximum(batch.end - 1, 0)], batch.end)
