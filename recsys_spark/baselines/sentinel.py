"""A model that has learned nothing: the next codes in catalogue order after the last item bought.

It runs beside the others to catch leaks: were a query ranked from events of the very basket that is asked for,
neighbours in the catalogue would be what the source lists next, and this model would look excellent. Like every model
it is given what lies strictly before the query, so it says nothing of `sequences.history_mode`, which shapes training
rows alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys_spark.arrays import Ints, places_by_size
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.contracts.config import SENTINEL


@dataclass(frozen=True)
class NextInCatalogue:
    """score(item) = -(steps from the last item bought to the item), over eligible items in the order of their codes.

    codes: loads the stock codes as an array whose position is the item_idx; position 0 is null. Behind the last code
    the first follows. Of an order's items the one with the largest code counts as the last.
    """

    fitted: FittedPopularity
    codes: Callable[[], pa.Array]
    name: str = SENTINEL

    def popular(self) -> Popular:
        """Eligible items in the order of their codes."""
        items = self.fitted.order(by_recent=False).items
        ordered = items[np.argsort(self._places()[items])]
        return Popular(ordered, np.zeros(len(ordered)))

    def score(self, batch: QueryBatch) -> Scored:
        places, catalogue = self._places(), self.popular().items
        queries = np.flatnonzero(batch.num_earlier)
        last_items = batch.events.items[batch.end[queries] - 1]
        first_after = np.searchsorted(places[catalogue], places[last_items], side="right")
        # What was bought before may be masked, so that many more items are listed.
        sizes = np.minimum(batch.num_earlier[queries] + batch.depth, len(catalogue))
        steps = places_by_size(sizes)
        listed = catalogue[(np.repeat(first_after, sizes) + steps) % max(len(catalogue), 1)]
        return Scored(np.repeat(queries, sizes), listed, -steps.astype(np.float64))

    def _places(self) -> Ints:
        """Place of every item_idx in the order of all codes, (num_items + 1,)."""
        order = pc.sort_indices(self.codes(), null_placement="at_start").to_numpy().astype(np.int64)
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        return places
