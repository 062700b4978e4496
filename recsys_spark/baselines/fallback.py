"""Segment popularity behind what a model knows of a query, in place of the recent popularity of all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import Floats, Ints, find, order_best_first, pair_keys, places_by_group
from recsys_spark.baselines.profiles import num_wanted
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Model, Popular, Scored

_STEP = 1e-3  # from one place behind a model's own items to the next


@dataclass(frozen=True)
class WithFallback:
    """A model's own items, behind them those of `fallback`, behind these the popular items of the model.

    The fallback is asked for queries with fewer items of the model's own than a list can take. Its items score less
    than the model's own, by a thousandth for each place. source_ranks has the fallback's names beside the model's.
    """

    model: Model
    fallback: Model

    @property
    def name(self) -> str:
        return self.model.name

    def popular(self) -> Popular:
        return self.model.popular()

    def score(self, batch: QueryBatch) -> Scored:
        own = self.model.score(batch)
        eligible = self.popular().eligible
        may_rank = (own.items < len(eligible)) & eligible[np.minimum(own.items, len(eligible) - 1)]
        counts = np.bincount(own.rows[may_rank], minlength=len(batch))
        short = np.flatnonzero(counts < np.minimum(num_wanted(batch), eligible.sum()))
        if len(short) == 0:
            return own
        asked = self.fallback.score(batch.part(short))
        asked = replace(asked, rows=short[asked.rows])
        is_new = ~find(np.sort(pair_keys(own.rows, own.items)), pair_keys(asked.rows, asked.items))[1]
        return _behind(own, asked, is_new)


def _behind(own: Scored, asked: Scored, is_new: npt.NDArray[np.bool_]) -> Scored:
    """The model's own pairs and those of the fallback that are new, in its order."""
    order = order_best_first(asked.rows, asked.items, asked.scores)
    order = order[is_new[order]]
    rows, items = asked.rows[order], asked.items[order]
    steps = _STEP * (places_by_group(rows) + 1)
    first = None if own.first is None else np.concatenate([own.first, _lowest(own.rows, own.first, rows) - steps])
    told = {
        name: np.concatenate([ranks, np.zeros(len(rows), np.int32)]) for name, ranks in (own.source_ranks or {}).items()
    }
    told |= {
        name: np.concatenate([np.zeros(len(own.rows), np.int32), ranks[order]])
        for name, ranks in (asked.source_ranks or {}).items()
    }
    return Scored(
        rows=np.concatenate([own.rows, rows]),
        items=np.concatenate([own.items, items]),
        scores=np.concatenate([own.scores, _lowest(own.rows, own.scores, rows) - steps]),
        first=first,
        source_ranks=told or None,
    )


def _lowest(rows: Ints, scores: Floats, wanted: Ints) -> Floats:
    """The least score of each wanted query, 0 for one without any."""
    lowest = np.full(1 + max(int(rows.max(initial=0)), int(wanted.max(initial=0))), np.inf)
    np.minimum.at(lowest, rows, scores)
    found: Floats = np.where(np.isfinite(lowest), lowest, 0.0)[wanted]
    return found
