"""Answers from one state: the lists of a customer or a basket, products like another, and what everyone buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.recommendations.lists import chosen_of, new_of, purchases_of
from recsys_spark.recommendations.reasons import reason_text, source_places
from recsys_spark.sequences.windows import Ints
from recsys_spark.serving.state import State
from recsys_spark.serving.text import tidy_code

ALL_ITEMS, FIRST_PURCHASE = LIST_PROTOCOLS


@dataclass(frozen=True)
class Wish:
    """How a list is to be. share_new: as recommend.share_new, for all_items alone."""

    k: int
    protocol: str = ALL_ITEMS
    share_new: float | None = None

    @property
    def model_protocol(self) -> str:
        """The protocol whose best model is asked, as `recommend` does."""
        return FIRST_PURCHASE if self.protocol == FIRST_PURCHASE or self.share_new == 1 else ALL_ITEMS


@dataclass(frozen=True)
class Listed:
    """One product of an answer. sources: names and ranks, best first."""

    rank: int
    stock_code: str
    description: str | None
    score: float
    reason: str
    model: str
    sources: tuple[tuple[str, int], ...] = ()


def for_customer(state: State, user: int, wish: Wish, recent_days: int) -> list[Listed]:
    """The list of a known customer at the bundle's moment: that of `recommend`."""
    return _listed(state, state.customer(user), wish, recent_days)


def for_basket(state: State, items: Ints, quantities: np.ndarray, wish: Wish, recent_days: int) -> list[Listed]:
    """The list of someone new who just bought the basket; items as of `basket_of`, at least one."""
    return _listed(state, state.basket(items, quantities), wish, recent_days)


def basket_of(state: State, lines: Sequence[tuple[str, float]]) -> tuple[Ints, np.ndarray, list[str]]:
    """Items in the order of their codes, each once with its quantities added up, and the codes that are not known."""
    known: dict[str, float] = {}
    indices: dict[str, int] = {}
    unknown: list[str] = []
    for text, quantity in lines:
        code = tidy_code(text)
        index = state.items.find(code)
        if index is None:
            unknown.append(text)
        else:
            known[code] = known.get(code, 0.0) + quantity
            indices[code] = index
    codes = sorted(known)
    items = np.array([indices[code] for code in codes], dtype=np.int64)
    return items, np.array([known[code] for code in codes], dtype=np.float64), unknown


def most_popular(state: State, k: int, recent_days: int) -> list[Listed]:
    """What everyone buys lately; the score is the share of sales."""
    return [
        _told(state, rank, item, score, "popularity", _popular_reason(state, item, recent_days))
        for rank, (item, score) in enumerate(zip(state.popular.items[:k], state.popular.scores[:k], strict=True), 1)
    ]


def similar_to(state: State, item: int, k: int) -> list[Listed]:
    """Products like another: by the cosine of a tower's item vectors, else by ItemKNN; none where neither knows it."""
    for model, found in ((state.tower, _by_tower), (state.neighbours, _by_neighbours)):
        items, scores = found(state, item, k) if model else (np.zeros(0, np.int64), np.zeros(0))
        keep = (items != item) & np.isin(items, state.popular.items)
        best = np.lexsort((items[keep], -np.round(scores[keep], 6)))[:k]
        if model and len(best):
            pairs = zip(items[keep][best], scores[keep][best], strict=True)
            word = "bought by the same customers" if found is _by_neighbours else "fits the same customers"
            return [_told(state, rank, one, score, model.name, word) for rank, (one, score) in enumerate(pairs, 1)]
    return []


def _listed(state: State, batch: QueryBatch, wish: Wish, recent_days: int) -> list[Listed]:
    model = state.models[wish.model_protocol]
    scored = state.scored(wish.model_protocol, batch)
    if wish.protocol == FIRST_PURCHASE:
        chosen = new_of(model, batch, scored, wish.k)
    else:
        chosen = chosen_of(model, batch, scored, wish.k, wish.share_new)
    times, days = purchases_of(batch, chosen.rows, chosen.items)
    found = []
    for place, sources in enumerate(source_places(chosen, scored)):
        item, best = int(chosen.items[place]), sources[0][0] if sources else None
        counts = int(state.counts[item]), int(state.recent_counts[item])
        why = reason_text(int(times[place]), int(days[place]), best, *counts, recent_days)
        name = model.name if chosen.is_scored[place] else "popularity"
        found.append(_told(state, place + 1, item, chosen.scores[place], name, why, tuple(sources)))
    return found


def _told(
    state: State, rank: int, item: int, score: float, model: str, why: str, sources: tuple[tuple[str, int], ...] = ()
) -> Listed:
    code, text = state.items.of(int(item)), state.items.text(int(item))
    return Listed(rank, code, text, float(score), why, model, sources)


def _popular_reason(state: State, item: int, recent_days: int) -> str:
    return reason_text(0, 0, None, int(state.counts[item]), int(state.recent_counts[item]), recent_days)


def _by_tower(state: State, item: int, k: int) -> tuple[Ints, np.ndarray]:
    from recsys_spark.candidates.index import load_index  # faiss

    assert state.tower
    vectors = state.tower.files.item_embeddings.array()
    if item >= len(vectors) or not vectors[item].any():
        return np.zeros(0, np.int64), np.zeros(0)
    wanted = np.array([k + 1 + state.models[ALL_ITEMS].num_excluded])
    found = load_index(state.tower.files).search(vectors[[item]], wanted, with_offsets=False)
    return found.items, found.scores


def _by_neighbours(state: State, item: int, _: int) -> tuple[Ints, np.ndarray]:
    assert state.neighbours
    matrix = state.neighbours.neighbours.csr("item_idx", "neighbour_idx", "score")
    if item >= matrix.shape[0]:
        return np.zeros(0, np.int64), np.zeros(0)
    own = slice(matrix.indptr[item], matrix.indptr[item + 1])
    return matrix.indices[own].astype(np.int64), matrix.data[own]
