"""From a model's scores to ranked lists: eligibility, masks, ties, and popularity behind what was not scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.schemas import RANKINGS
from recsys_spark.sequences.windows import Ints

SCORE_DECIMALS = 6  # scores are rounded before ranking, so that lists do not depend on the order of additions
_TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Scored:
    """Scores of some (query, item) pairs, each pair at most once: row of the query, item_idx and score, (P,) each."""

    rows: Ints
    items: Ints
    scores: np.ndarray


@dataclass(frozen=True)
class Popular:
    """Eligible items, best first, with a score each: what stands behind a model's own items."""

    items: Ints
    scores: np.ndarray

    def eligible(self) -> np.ndarray:
        """A flag per item_idx, (largest eligible index + 1,)."""
        flags = np.zeros(int(self.items.max(initial=0)) + 1, dtype=bool)
        flags[self.items] = True
        return flags


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
    """Ranked lists of Q queries under one protocol: those of query q are [offsets[q], offsets[q + 1]).

    The first num_scored[q] of a list were scored by the model, the others are the popular items behind it.
    """

    protocol: str
    offsets: Ints
    items: Ints
    scores: np.ndarray
    num_scored: Ints


def rank_batch(model: Model, batch: QueryBatch, k: int) -> Iterator[Lists]:
    """The top k of each query under each list protocol; under first_purchase everything bought before is masked."""
    popular = model.popular()
    scored = _eligible_only(model.score(batch), popular.eligible())
    for protocol in LIST_PROTOCOLS:
        masks_seen = protocol == "first_purchase"
        own = best_first(_unseen_only(scored, batch) if masks_seen else scored, len(batch), k)
        yield _fill(protocol, own, popular, batch, k, masks_seen)


def best_first(scored: Scored, num_queries: int, k: int) -> list[tuple[Ints, np.ndarray]]:
    """Items and scores of each query, best first, ties by item_idx, at most k."""
    rounded = np.round(scored.scores, SCORE_DECIMALS)
    order = np.lexsort((scored.items, -rounded, scored.rows))
    bounds = np.searchsorted(scored.rows[order], np.arange(num_queries + 1))
    tops = [order[bounds[row] : min(bounds[row + 1], bounds[row] + k)] for row in range(num_queries)]
    return [(scored.items[top], rounded[top]) for top in tops]


def rank(asked: DataFrame, model: Model, codes: Callable[[], pa.Array], k: int) -> DataFrame:
    """RANKINGS of all queries in a frame of `with_queries`.

    codes: loads, inside the task, the stock codes as an array whose position is the item_idx.
    """
    return asked.mapInArrow(partial(_rankings_of, model=model, codes=codes, k=k), RANKINGS.ddl)


def _rankings_of(
    batches: Iterable[pa.RecordBatch], model: Model, codes: Callable[[], pa.Array], k: int
) -> Iterator[pa.RecordBatch]:
    for arrow in batches:
        for batch in query_batches(arrow):
            for lists in rank_batch(model, batch, k):
                columns = {
                    "query_id": pa.array(batch.query_ids),
                    "customer_id": arrow.column("customer_id").take(pa.array(batch.customers)),
                    "event_time": pa.array(batch.micros).cast(_TIMESTAMP),
                    "protocol": pa.array([lists.protocol] * len(batch), pa.string()),
                    "stock_codes": pa.ListArray.from_arrays(
                        pa.array(lists.offsets.astype(np.int32)), codes().take(pa.array(lists.items))
                    ),
                }
                yield pa.RecordBatch.from_arrays([columns[name] for name in RANKINGS.names], names=RANKINGS.names)


def _eligible_only(scored: Scored, eligible: np.ndarray) -> Scored:
    keep = scored.items < len(eligible)
    keep[keep] = eligible[scored.items[keep]]
    return Scored(scored.rows[keep], scored.items[keep], scored.scores[keep])


def _unseen_only(scored: Scored, batch: QueryBatch) -> Scored:
    rows, positions = batch.earlier()
    width = 1 + max(int(scored.items.max(initial=0)), int(batch.events.items.max(initial=0)))
    seen = np.unique(rows * width + batch.events.items[positions])
    pairs = scored.rows * width + scored.items
    found = np.minimum(np.searchsorted(seen, pairs), max(len(seen) - 1, 0))
    keep = seen[found] != pairs if len(seen) else np.ones(len(pairs), dtype=bool)
    return Scored(scored.rows[keep], scored.items[keep], scored.scores[keep])


def _fill(
    protocol: str,
    own: list[tuple[Ints, np.ndarray]],
    popular: Popular,
    batch: QueryBatch,
    k: int,
    masks_seen: bool,
) -> Lists:
    """Append popular items that the list lacks, and under a mask those never bought, up to k."""
    taken = np.zeros(1 + max(int(popular.items.max(initial=0)), int(batch.events.items.max(initial=0))), dtype=bool)
    items, scores = [], []
    for row, (listed, listed_scores) in enumerate(own):
        missing = k - len(listed)
        behind = np.zeros(0, dtype=np.int64)
        if missing > 0:
            barred = np.concatenate([listed, batch.seen(row)]) if masks_seen else listed
            taken[barred] = True
            reach = missing + len(barred)  # at most len(barred) of the most popular can be taken
            behind = np.flatnonzero(~taken[popular.items[:reach]])[:missing]
            taken[barred] = False
        items += [listed, popular.items[behind]]
        scores += [listed_scores, popular.scores[behind]]
    sizes = np.array([len(part) for part in items], dtype=np.int64).reshape(-1, 2)
    return Lists(
        protocol,
        offsets=np.concatenate([[0], np.cumsum(sizes.sum(axis=1))]),
        items=np.concatenate(items) if items else np.zeros(0, np.int64),
        scores=np.concatenate(scores) if scores else np.zeros(0),
        num_scored=sizes[:, 0],
    )
