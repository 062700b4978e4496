"""When and where a query is asked: the calendar, the days since the last order, and the usual places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import Ints
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.contracts.context import CONTEXT_SIZES, RECENCY_DAYS
from recsys_spark.sequences.places import PLACES
from recsys_spark.sequences.windows import MICROS_PER_DAY

_THURSDAY = 4  # 1970-01-01 was one; the week begins with Sunday


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


def query_context(batch: QueryBatch) -> npt.NDArray[np.int32]:
    """The value of every feature of CONTEXT_SIZES, in its order, (Q, features); 0 for none.

    Places are hashed again: distinct ones may share a value.
    """
    days = batch.micros // MICROS_PER_DAY
    found = {"month": month_of(days) + 1, "weekday": weekday_of(days) + 1, "recency": _recency(batch)}
    for kind in PLACES:
        place = usual_place(batch, kind)
        found[kind] = np.where(place != 0, place % CONTEXT_SIZES[kind] + 1, 0)
    return np.stack([found[feature] for feature in CONTEXT_SIZES], axis=1).astype(np.int32)


def weekday_of(days: Ints) -> Ints:
    """Of days since 1970-01-01, from 0 for Sunday."""
    return (days + _THURSDAY) % 7


def month_of(days: Ints) -> Ints:
    """Of days since 1970-01-01, from 0 for January."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12


def recency_bucket(days: npt.NDArray[np.float64]) -> Ints:
    """The bucket of days since the last order, from 0; the bounds RECENCY_DAYS belong to the earlier one."""
    return np.searchsorted(RECENCY_DAYS, days, side="left")


def _recency(batch: QueryBatch) -> Ints:
    """The bucket of days since the last order before each query, from 1; 0 without one, (Q,)."""
    if len(batch.events.micros) == 0:
        return np.zeros(len(batch), dtype=np.int64)
    last = batch.events.micros[np.maximum(batch.end - 1, 0)]
    bucket = recency_bucket((batch.micros - last) / MICROS_PER_DAY) + 1
    return np.where(batch.end > batch.start, bucket, 0)
