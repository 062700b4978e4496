"""Who asks, as the batch kernels take it: a customer of the run with its events, or a basket of someone new."""

from __future__ import annotations

import numpy as np

from recsys_spark.arrays import Ints
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.sequences.windows import Events
from recsys_spark.serving.bundle import BundleCard, CustomerArrays


def of_customer(arrays: CustomerArrays, user: int, moment: int) -> QueryBatch:
    """The query of a known customer at a moment after all events."""
    own = slice(int(arrays.event_offsets[user]), int(arrays.event_offsets[user + 1]))
    places = (arrays.showrooms[own], arrays.channels[own])
    return _query(arrays.items[own], arrays.micros[own], arrays.quantities[own], *places, user, moment)


def of_basket(items: Ints, quantities: np.ndarray, card: BundleCard) -> QueryBatch:
    """The query of a customer that no fit knows, who bought these items as one order just before the moment.

    items: in the order of their codes, each once; as of lines that `recommend --with` gets with the time of the last
    event.
    """
    nowhere = np.zeros(len(items), dtype=np.int64)  # a basket tells no showroom and no channel
    micros = np.full(len(items), card.moment - 1)
    return _query(items, micros, quantities, nowhere, nowhere, card.num_customers + 1, card.moment)


def _query(
    items: Ints, micros: Ints, quantities: np.ndarray, showrooms: Ints, channels: Ints, user: int, moment: int
) -> QueryBatch:
    size = len(items)
    return QueryBatch(
        query_ids=np.array([user]),
        micros=np.array([moment]),
        customers=np.zeros(1, dtype=np.int64),
        start=np.zeros(1, dtype=np.int64),
        end=np.array([size]),
        events=Events(np.array([0, size]), items, micros, quantities, showrooms, channels),
        users=np.array([user]),
    )
