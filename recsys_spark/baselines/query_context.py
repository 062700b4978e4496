"""Where a query is asked: the place that its customer used most before it."""

from __future__ import annotations

import numpy as np

from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.sequences.places import PLACES
from recsys_spark.sequences.windows import Ints


def usual_place(batch: QueryBatch, kind: str) -> Ints:
    """The hash of the place where most events before each query happened, ties by the hash; 0 without one, (Q,).

    kind: a key of PLACES. The same as `usual_places` over what was known at the query.
    """
    places = getattr(batch.events, PLACES[kind])
    found = np.zeros(len(batch), dtype=np.int64)
    if places is None:  # the histories came without places
        return found
    rows, positions = batch.earlier()
    named = places[positions] != 0
    names, code = np.unique(places[positions[named]], return_inverse=True)
    pairs, counts = np.unique(rows[named] * max(len(names), 1) + code, return_counts=True)
    owner, code = pairs // max(len(names), 1), pairs % max(len(names), 1)
    order = np.lexsort((code, -counts, owner))
    asked, first = np.unique(owner[order], return_index=True)
    found[asked] = names[code[order][first]]
    return found
