"""From a model's scores to ranked lists: eligibility, masks, ties, and popularity behind what was not scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.arrays import Floats, Ints, order_best_first
from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.contracts.schemas import RANKINGS
from recsys_spark.evaluation.protocols import ALL_ITEMS, FIRST_PURCHASE, MASKED_NEW, MASKED_SEEN, PROTOCOLS

SCORE_DECIMALS = 6  # scores are rounded before ranking, so that lists do not depend on the order of additions
_TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Scored:
    """Scores of some (query, item) pairs, each pair at most once: row of the query, item_idx and score, (P,) each.

    first: scores under first_purchase of a model that has others there. source_ranks: of a model of two stages, the
    rank of each pair in every source by name, 0 where that did not propose it; of segment popularity, in its list by
    the kind of segment that spoke.
    """

    rows: Ints
    items: Ints
    scores: Floats
    first: Floats | None = None
    source_ranks: Mapping[str, npt.NDArray[np.int32]] | None = None


@dataclass(frozen=True)
class Popular:
    """Eligible items, best first, with a score each: what stands behind a model's own items."""

    items: Ints
    scores: Floats

    @cached_property
    def eligible(self) -> np.ndarray:
        """A flag per item_idx, (largest eligible index + 1,); not to be changed."""
        flags = np.zeros(int(self.items.max(initial=0)) + 1, dtype=bool)
        flags[self.items] = True
        return flags

    def places_of(self, items: Ints) -> Ints:
        """Where items stand, from 0; -1 for those that are not eligible."""
        return np.where(items < len(self._places), self._places[np.minimum(items, len(self._places) - 1)], -1)

    @cached_property
    def _places(self) -> Ints:
        places = np.full(len(self.eligible), -1, dtype=np.int64)
        places[self.items] = np.arange(len(self.items))
        return places


class Model(Protocol):
    """A fitted model as it travels to the tasks: small values and paths; arrays are loaded there."""

    @property
    def name(self) -> str:
        """The name under which rankings are kept."""
        ...

    def popular(self) -> Popular:
        """The items that may be ranked, in the order in which they fill lists up."""
        ...

    def score(self, batch: QueryBatch) -> Scored:
        """Scores of the pairs that the model has an opinion on."""
        ...


@dataclass(frozen=True)
class Lists:
    """Ranked lists of Q queries under one protocol: that of query q is [offsets[q], offsets[q + 1]).

    The first num_scored[q] of a list were scored by the model, the others are the popular items behind it. is_new: of
    masked_seen, which items are among the first k that the query's customer never bought; (n,) for n listed items.
    """

    protocol: str
    offsets: Ints
    items: Ints
    scores: Floats
    num_scored: Ints
    is_new: npt.NDArray[np.bool_] | None = None


def rank_batch(model: Model, batch: QueryBatch, k: int) -> Iterator[Lists]:
    """Each query's lists: the top k under all_items, the top k never bought under first_purchase.

    The third, masked_seen, is the full order down to the k-th never bought item: what tells how many such items stand
    before a repeat. It is as long as it takes. Of a model that orders first purchases otherwise, masked_new are the
    never bought items of that order.
    """
    popular = model.popular()
    scored = eligible_only(model.score(replace(batch, depth=k)), popular.eligible)
    own = best_first(scored, len(batch))
    own_first = own if scored.first is None else best_first(replace(scored, scores=scored.first), len(batch))
    seen = np.zeros(1 + max(int(popular.items.max(initial=0)), int(batch.events.items.max(initial=0))), dtype=bool)
    taken = seen.copy()
    has_two_orders = own_first is not own
    kinds = (*PROTOCOLS, MASKED_NEW) if has_two_orders else PROTOCOLS
    listed: dict[str, list[_Listed]] = {kind: [] for kind in kinds}
    new_places: list[Ints] = []
    for row, (items, scores) in enumerate(own):
        # At most the own and the seen items can be missing from the head of the popular ones.
        head = slice(k + len(items) + batch.end[row] - batch.start[row])
        taken[items] = True
        behind = np.flatnonzero(~taken[popular.items[head]])
        taken[items] = False
        whole = _filled_up(items, scores, popular, behind)
        whole_first = _filled_up(*own_first[row], popular, behind) if has_two_orders else whole
        seen[batch.seen(row)] = True
        new_only = np.flatnonzero(~seen[whole.items])[:k]
        new_first = np.flatnonzero(~seen[whole_first.items])[:k] if has_two_orders else new_only
        seen[batch.seen(row)] = False
        listed[ALL_ITEMS].append(whole.at(np.arange(min(k, len(whole.items)))))
        listed[FIRST_PURCHASE].append(whole_first.at(new_first))
        reach = new_only[-1] + 1 if len(new_only) == k else len(whole.items)
        listed[MASKED_SEEN].append(whole.at(np.arange(reach)))
        new_places.append(new_only)
        if has_two_orders:
            listed[MASKED_NEW].append(whole.at(new_only))
    for protocol, lists in listed.items():
        laid_out = _laid_out(protocol, lists)
        yield _with_new(laid_out, new_places) if protocol == MASKED_SEEN else laid_out


@dataclass(frozen=True)
class _Listed:
    """One list; the first num_scored items are the model's own."""

    items: Ints
    scores: Floats
    num_scored: int

    def at(self, positions: Ints) -> _Listed:
        """The list reduced to some positions in rising order."""
        num_scored = int(np.searchsorted(positions, self.num_scored))
        return _Listed(self.items[positions], self.scores[positions], num_scored)


def _filled_up(items: Ints, scores: Floats, popular: Popular, behind: Ints) -> _Listed:
    """A model's own items, and popular ones at some places behind them."""
    every = np.concatenate([items, popular.items[behind]]), np.concatenate([scores, popular.scores[behind]])
    return _Listed(*every, len(items))


def _laid_out(protocol: str, lists: list[_Listed]) -> Lists:
    nothing = _Listed(np.zeros(0, dtype=np.int64), np.zeros(0), 0)
    return Lists(
        protocol,
        offsets=np.cumsum([0, *(len(one.items) for one in lists)]),
        items=np.concatenate([one.items for one in (*lists, nothing)]),
        scores=np.concatenate([one.scores for one in (*lists, nothing)]),
        num_scored=np.array([one.num_scored for one in lists], dtype=np.int64),
    )


def _with_new(lists: Lists, places: list[Ints]) -> Lists:
    """places: of the never bought items in each list, from 0."""
    is_new = np.zeros(len(lists.items), dtype=bool)
    sizes = [len(each) for each in places]
    is_new[np.concatenate([*places, np.zeros(0, dtype=np.int64)]) + np.repeat(lists.offsets[:-1], sizes)] = True
    return replace(lists, is_new=is_new)


def best_first(scored: Scored, num_queries: int) -> list[tuple[Ints, Floats]]:
    """Items and scores of each query, best first, ties by item_idx."""
    rounded = np.round(scored.scores, SCORE_DECIMALS)
    order = order_best_first(scored.rows, scored.items, rounded)
    items, scores = scored.items[order], rounded[order]
    bounds = np.searchsorted(scored.rows[order], np.arange(num_queries + 1))
    return [(items[first:last], scores[first:last]) for first, last in pairwise(bounds)]


def rank(asked: DataFrame, model: Model, codes: Callable[[], pa.Array], k: int) -> DataFrame:
    """The lists of all queries in a frame of `with_queries`, in the columns of RANKINGS, masked_seen among them: for
    who wants them as a frame; stages publish them by baselines/list_tables.py.

    codes: loads, inside the task, the stock codes as an array whose position is the item_idx.
    """
    return asked.mapInArrow(partial(rankings_of, model=model, codes=codes, k=k), RANKINGS.ddl)


def rankings_of(
    batches: Iterable[pa.RecordBatch], model: Model, codes: Callable[[], pa.Array], k: int
) -> Iterator[pa.RecordBatch]:
    """The kernel of `rank`."""
    for arrow in batches:
        for batch in query_batches(arrow):
            for lists in rank_batch(model, batch, k):
                yield rankings_batch(arrow, batch, lists, codes)


def rankings_batch(
    arrow: pa.RecordBatch, batch: QueryBatch, lists: Lists, codes: Callable[[], pa.Array]
) -> pa.RecordBatch:
    """RANKINGS of the queries of a part of an Arrow batch."""
    columns = {
        "query_id": pa.array(batch.query_ids),
        "customer_id": arrow.column("customer_id").take(pa.array(batch.customers)),
        "event_time": pa.array(batch.micros).cast(_TIMESTAMP),
        "protocol": pa.array([lists.protocol] * len(batch), pa.string()),
        "stock_codes": pa.ListArray.from_arrays(
            pa.array(lists.offsets.astype(np.int32)), codes().take(pa.array(lists.items))
        ),
        "num_scored": pa.array(lists.num_scored.astype(np.int32)),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in RANKINGS.names], names=RANKINGS.names)


def eligible_only(scored: Scored, eligible: np.ndarray) -> Scored:
    """The pairs whose item may be ranked. eligible: of `Popular`."""
    keep = scored.items < len(eligible)
    keep[keep] = eligible[scored.items[keep]]
    first = None if scored.first is None else scored.first[keep]
    return Scored(scored.rows[keep], scored.items[keep], scored.scores[keep], first)
