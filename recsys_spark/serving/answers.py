"""Answers from one state: the lists of a customer or a basket, products like another, and what everyone buys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from recsys_spark.arrays import Ints
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.contracts.columns import ALL_ITEMS, FIRST_PURCHASE
from recsys_spark.recommendations.fitted_rules import policy_of
from recsys_spark.recommendations.lists import LISTED_SCHEMA, Lister, items_of, listed_of
from recsys_spark.recommendations.policy import Asked, Entries, make_lists
from recsys_spark.recommendations.reasons import SIMILAR, TOGETHER, Teller
from recsys_spark.serving.state import State
from recsys_spark.spelling import tidy_code

_DEPTH_GROWS = 4
_BESIDE = (  # what is joined to a listed item, beside the sales
    *(f"{own}_{name}" for own in ("together", "similar") for name in ("stock_code", "description")),
    "other_customers",
    "other_baskets",
)


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
class Product:
    """One product of an answer. reason_facts: those that say something; sources: names and ranks, best first."""

    rank: int
    stock_code: str
    description: str | None
    score: float
    reason: str
    reason_kind: str
    reason_facts: Mapping[str, Any]
    model: str
    sources: tuple[tuple[str, int], ...] = ()


def for_customer(state: State, user: int, wish: Wish) -> list[Product]:
    """The list of a known customer at the bundle's moment: that of `recommend`."""
    return _listed(state, state.customer(user), wish)


def for_basket(state: State, items: Ints, quantities: np.ndarray, wish: Wish) -> list[Product]:
    """The list of someone new who just bought the basket; items as of `basket_of`, at least one."""
    return _listed(state, state.basket(items, quantities), wish)


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


def most_popular(state: State, k: int) -> list[Product]:
    """What everyone buys lately, under the rules that are for everybody; the score is the share of sales."""
    nothing = np.zeros(0, dtype=np.int64)
    unranked = Entries(nothing, nothing, nothing.astype(float), nothing.astype(bool), nothing.astype(bool))
    asked = Asked(np.array([state.card.moment]), nothing, nothing)
    policy = replace(policy_of(state.options, k), share_new=None)
    chosen = make_lists(unranked, asked, policy, state.rules, state.popular).chosen
    row = dict.fromkeys((*LISTED_SCHEMA.names, *_BESIDE))
    rows = [
        {**row, "item_idx": int(item), "rank": rank, "score": float(score)}
        for rank, (item, score) in enumerate(zip(chosen.items, chosen.scores, strict=True), 1)
    ]
    return _told(state, rows, "popularity")


def similar_to(state: State, item: int, k: int) -> list[Product]:
    """Products like another: by the cosine of a tower's item vectors, else by ItemKNN; none where neither knows it.

    What the rules bar for everybody is left out.
    """
    for model, found in ((state.tower, _by_tower), (state.neighbours, _by_neighbours)):
        items, scores = found(state, item, k) if model else (np.zeros(0, np.int64), np.zeros(0))
        best = np.lexsort((items, -np.round(scores, 6)))[:k]
        if model and len(best):
            by_tower = found is _by_tower
            kind, word = (
                (SIMILAR, "fits the same customers") if by_tower else (TOGETHER, "bought by the same customers")
            )
            return [
                Product(
                    rank=rank,
                    stock_code=state.items.of(int(one)),
                    description=state.items.text(int(one), "description"),
                    score=float(score),
                    reason=word,
                    reason_kind=kind,
                    reason_facts={"similarity": float(score)} if by_tower else {},
                    model=model.name,
                )
                for rank, (one, score) in enumerate(zip(items[best], scores[best], strict=True), 1)
            ]
    return []


def _listed(state: State, batch: QueryBatch, wish: Wish) -> list[Product]:
    """By the kernels of `recommend`."""
    model, new_only = state.models[wish.model_protocol], wish.protocol == FIRST_PURCHASE
    policy = replace(policy_of(state.options, wish.k), share_new=None if new_only else wish.share_new)
    lister = Lister(model, policy, lambda: state.rules, state.evidence)
    scored, bought = state.scored(wish.model_protocol, batch), batch.purchases
    listed = listed_of(lister, batch, bought, scored, state.barred(batch), new_only)
    rows = items_of(lister, listed, batch, bought, scored, pa.array([""])).to_pylist()
    return _told(state, [{**row, **_beside(state, row)} for row in rows], model.name)


def _beside(state: State, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the batch run joins to a listed item of its customer's products; None for what is not known."""
    found: dict[str, Any] = dict.fromkeys(_BESIDE)
    for own in ("together", "similar"):
        other = row[f"{own}_idx"]
        if other is not None:
            found[f"{own}_stock_code"] = state.items.of(other)
            found[f"{own}_description"] = state.items.text(other, "description")
    if row["together_idx"] is not None:
        customers, baskets = state.facts.bought_both(row["item_idx"], row["together_idx"])
        found |= {"other_customers": customers, "other_baskets": baskets}
    return found


def _told(state: State, rows: Sequence[Mapping[str, Any]], model: str) -> list[Product]:
    teller, told = Teller(model, state.options.reasons, state.recent_days), []
    for row in rows:
        item = row["item_idx"]
        known = {**row, **state.facts.sales(item), "category": state.items.text(item, "category")}
        reason = teller.reason(known)
        told.append(
            Product(
                rank=row["rank"],
                stock_code=state.items.of(item),
                description=state.items.text(item, "description"),
                score=row["score"],
                reason=reason.text,
                reason_kind=reason.kind,
                reason_facts={name: value for name, value in reason.facts.items() if value is not None},
                model=teller.ranked_by(row),
                sources=tuple((each["source"], each["rank"]) for each in row["source_ranks"] or ()),
            )
        )
    return told


def _by_tower(state: State, item: int, k: int) -> tuple[Ints, np.ndarray]:
    from recsys_spark.candidates.index import load_index  # faiss

    assert state.tower
    vectors = state.tower.files.item_embeddings.array()
    if item >= len(vectors) or not vectors[item].any():
        return np.zeros(0, np.int64), np.zeros(0)
    index, depth = load_index(state.tower.files), k + 1
    while True:
        found = index.search(vectors[[item]], np.array([depth]), with_offsets=False)
        keep = _may_follow(state, item, found.items)
        if keep.sum() >= k or depth >= state.card.num_items:
            return found.items[keep], found.scores[keep]
        depth = min(depth * _DEPTH_GROWS, state.card.num_items)


def _by_neighbours(state: State, item: int, _: int) -> tuple[Ints, np.ndarray]:
    assert state.neighbours
    matrix = state.neighbours.neighbours.csr("item_idx", "neighbour_idx", "score")
    if item >= matrix.shape[0]:
        return np.zeros(0, np.int64), np.zeros(0)
    own = slice(matrix.indptr[item], matrix.indptr[item + 1])
    items = matrix.indices[own].astype(np.int64)
    keep = _may_follow(state, item, items)
    return items[keep], matrix.data[own][keep]


def _may_follow(state: State, item: int, items: Ints) -> np.ndarray:
    """Which of some items may be named beside another."""
    return (items != item) & ~state.is_barred[items] & np.isin(items, state.popular.items)
