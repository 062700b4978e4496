"""A baseline whose scores are given, so that a test knows its lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored


@dataclass(frozen=True)
class GivenScores:
    """popularity: eligible items, best first; pairs: (row of the query, item_idx, score); first: their other scores."""

    popularity: tuple[int, ...]
    pairs: tuple[tuple[int, int, float], ...] = ()
    name: str = "given"
    first: tuple[float, ...] | None = None

    def popular(self) -> Popular:
        return Popular(np.array(self.popularity, dtype=np.int64), np.zeros(len(self.popularity)))

    def score(self, batch: QueryBatch) -> Scored:
        rows, items, scores = zip(*self.pairs, strict=True) if self.pairs else ((), (), ())
        first = None if self.first is None else np.array(self.first)
        return Scored(np.array(rows, np.int64), np.array(items, np.int64), np.array(scores, float), first)
