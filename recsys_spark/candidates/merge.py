"""All sources' proposals of a batch of queries as one row per (query, item), with every source's rank and score.

Names: Q queries, P pairs that a source scored, C candidates, S sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.baselines.ranking import SCORE_DECIMALS, Scored
from recsys_spark.candidates.purchases import find, items_of_keys, pair_keys, rows_of_keys
from recsys_spark.sequences.windows import Ints


@dataclass(frozen=True)
class Listed:
    """What one source scored: pairs ascending by query and item, each with its rank among those it may propose.

    ranks: from 1; 0 for what the source may not propose. All arrays are (P,).
    """

    keys: Ints
    ranks: Ints
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Offers:
    """C pairs of a batch, query by query. ranks, scores: (C, S), 0 where a source has none."""

    rows: Ints
    items: Ints
    ranks: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    @property
    def keys(self) -> Ints:
        return pair_keys(self.rows, self.items)


def list_source(scored: Scored, seen: Ints, proposes_seen: bool) -> Listed:
    """Rank what a source scored: of each query the items bought before, or all others.

    seen: ascending keys of the pairs that were bought before. Ties go by item_idx.
    """
    keys = pair_keys(scored.rows, scored.items)
    by_pair = np.argsort(keys)
    keys, scores = keys[by_pair], np.round(scored.scores[by_pair], SCORE_DECIMALS)
    allowed = np.flatnonzero(find(seen, keys)[1] == proposes_seen)
    rows = rows_of_keys(keys[allowed])
    # Stable, so that ties keep the order of items, and rows that of queries.
    best_first = allowed[np.lexsort((-scores[allowed], rows))]
    first_of_row = np.searchsorted(rows, rows)
    ranks = np.zeros(len(keys), dtype=np.int64)
    ranks[best_first] = np.arange(len(allowed)) - first_of_row + 1
    return Listed(keys, ranks, scores)


def union(listed: Sequence[Listed], quotas: Sequence[int], max_per_query: int) -> Offers:
    """The proposals of all sources, of each query those `max_per_query` of the least rank over quota.

    A source proposes items up to rank `quota`. Rows are in the order of queries, then best first.
    """
    proposed = [
        np.flatnonzero((one.ranks > 0) & (one.ranks <= quota)) for one, quota in zip(listed, quotas, strict=True)
    ]
    keys = [one.keys[places] for one, places in zip(listed, proposed, strict=True)]
    shares = [
        one.ranks[places] / quota for one, places, quota in zip(listed, proposed, np.maximum(quotas, 1), strict=True)
    ]
    found, place = np.unique(np.concatenate(keys), return_inverse=True)
    best = np.full(len(found), np.inf)
    np.minimum.at(best, place, np.concatenate(shares))
    rows = rows_of_keys(found)
    order = np.lexsort((best, rows))
    kept = found[order][np.arange(len(order)) - np.searchsorted(rows, rows) < max_per_query]
    return offers_of(kept, listed)


def offers_of(keys: Ints, listed: Sequence[Listed]) -> Offers:
    """Some pairs with every source's rank and score for them."""
    ranks = np.zeros((len(keys), len(listed)), dtype=np.int32)
    scores = np.zeros((len(keys), len(listed)), dtype=np.float32)
    for number, one in enumerate(listed):
        places, is_there = find(one.keys, keys)
        ranks[is_there, number] = one.ranks[places[is_there]]
        scores[is_there, number] = one.scores[places[is_there]]
    return Offers(rows_of_keys(keys), items_of_keys(keys), ranks, scores)
