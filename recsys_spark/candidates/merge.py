"""All sources' proposals of a batch of queries as one row per (query, item), with every source's rank and score.

Names: Q queries, P pairs that a source scored, C candidates, S sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import (
    Flags,
    Ints,
    find,
    items_of_keys,
    order_within,
    pair_keys,
    places_by_group,
    rows_of_keys,
    starts_of,
)
from recsys_spark.baselines.ranking import SCORE_DECIMALS, Scored
from recsys_spark.contracts.candidate_config import is_proposed

_FUSION = 60  # the paper's constant: how little a first rank is worth above a second


@dataclass(frozen=True)
class SourceRanking:
    """What one source lists: pairs ascending by query and item, each with its rank among those it may propose.

    ranks: from 1 to the depth of the list; 0 for what the source may not propose. All arrays are (P,).
    """

    keys: Ints
    ranks: Ints
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True)
class CandidateRows:
    """C pairs of a batch, query by query. ranks, scores: (C, S), 0 where a source has none."""

    rows: Ints
    items: Ints
    ranks: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    @property
    def keys(self) -> Ints:
        return pair_keys(self.rows, self.items)


def rank_source(scored: Scored, seen: Ints, proposes_seen: bool, depth: int) -> SourceRanking:
    """Rank what a source scored: of each query the items bought before, or all others.

    The list of a query ends with the `depth`-th item that the source may propose. A model scores more of them the more
    the customer bought; ranks and scores from behind the end would tell that of the customer and nothing of the item.
    seen: ascending keys of the pairs that were bought before. Ties go by item_idx.
    """
    keys = pair_keys(scored.rows, scored.items)
    by_pair = np.argsort(keys, kind="stable")  # most models score in this very order, which it notices
    keys, scores = keys[by_pair], np.round(scored.scores[by_pair], SCORE_DECIMALS)
    is_allowed = find(seen, keys)[1] == proposes_seen
    rows = rows_of_keys(keys)
    best_first = order_within(rows, -scores)  # stable, so that ties keep the order of items
    reached = np.empty(len(keys), dtype=np.int64)  # of what may be proposed, down to each pair
    reached[best_first] = _running_counts(is_allowed[best_first], rows)
    kept = reached < depth + is_allowed  # one that may be proposed has counted itself
    return SourceRanking(keys[kept], np.where(is_allowed, reached, 0)[kept], scores[kept])


def union(
    listed: Sequence[SourceRanking],
    quotas: Ints,
    are_repeats: npt.NDArray[np.bool_],
    max_per_query: int,
    repeat_share: float,
) -> CandidateRows:
    """The proposals of all sources, of each query at most `max_per_query`, in the order of queries, then best first.

    A source proposes items up to rank `quota`; are_repeats: which sources propose what was bought before, the others
    propose the rest. Their order: see fused_order.
    """
    keys = [one.keys[is_proposed(one.ranks, quota)] for one, quota in zip(listed, quotas, strict=True)]
    found = candidate_rows(np.unique(np.concatenate(keys)), listed)
    is_repeat = (found.ranks[:, are_repeats] > 0).any(axis=1)
    order = fused_order(found.rows, found.ranks, is_repeat, quotas, repeat_share)
    kept = order[places_by_group(found.rows) < max_per_query]
    return CandidateRows(found.rows[kept], found.items[kept], found.ranks[kept], found.scores[kept])


def fused_order(
    rows: Ints, ranks: npt.NDArray[np.int32], is_repeat: npt.NDArray[np.bool_], quotas: Ints, repeat_share: float
) -> Ints:
    """The order of pairs, query by query: (P,) for rows, ascending, and is_repeat (P,), ranks (P, S) and quotas (S,).

    An item scores the sum of quota / (60 + rank) over all sources that rank it (reciprocal rank fusion: Cormack et al.,
    SIGIR 2009): what several propose goes before what one does. Items bought before and all others stand in an order
    each, of which the first n places of a query hold repeat_share x n and (1 - repeat_share) x n, as far as there are
    as many. Ties keep the order of the pairs.
    """
    fused = np.where(ranks > 0, quotas / (_FUSION + ranks), 0.0).sum(axis=1)
    best_first = order_within(rows, -fused)
    is_repeat_then = is_repeat[best_first]
    reached = np.empty(len(rows), dtype=np.int64)  # of its kind, down to each pair
    reached[best_first] = np.where(
        is_repeat_then, _running_counts(is_repeat_then, rows), _running_counts(~is_repeat_then, rows)
    )
    return order_within(rows, reached / np.where(is_repeat, repeat_share, 1 - repeat_share))


def _running_counts(flags: Flags, groups: Ints) -> Ints:
    """How many flags are set from the first entry of each group down to each entry; groups: ascending."""
    before = np.concatenate([[0], np.cumsum(flags)])
    return before[1:] - before[starts_of(groups)]


def candidate_rows(keys: Ints, listed: Sequence[SourceRanking]) -> CandidateRows:
    """Some pairs with every source's rank and score for them."""
    ranks = np.zeros((len(keys), len(listed)), dtype=np.int32)
    scores = np.zeros((len(keys), len(listed)), dtype=np.float32)
    for number, one in enumerate(listed):
        places, is_there = find(one.keys, keys)
        ranks[is_there, number] = one.ranks[places[is_there]]
        scores[is_there, number] = one.scores[places[is_there]]
    return CandidateRows(rows_of_keys(keys), items_of_keys(keys), ranks, scores)
