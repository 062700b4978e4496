"""Replies as documents: what is looked up, what is asked of the models, and what stands in for what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.serving import documents as doc
from recsys_spark.serving.answers import (
    ALL_ITEMS,
    FIRST_PURCHASE,
    Product,
    Wish,
    basket_of,
    for_basket,
    for_customer,
    most_popular,
    similar_to,
)
from recsys_spark.serving.state import State
from recsys_spark.serving.text import tidy_code

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EVERYONE = "this is what everyone buys"


class Refused(Exception):  # noqa: N818 (an answer, not a fault)
    """A problem as the caller gets it."""

    def __init__(self, status: int, error: str, detail: str, where: Sequence[str] = ()) -> None:
        self.status, self.problem = status, doc.Problem(error=error, detail=detail, where=list(where))


class Replies:
    """All that is computed for a request, by a thread of the desk, from the state that the request took."""

    def __init__(self, config: PipelineConfig) -> None:
        self._listed, self._max_lines = config.recommend, config.serve.max_basket_items

    def customer(
        self, state: State, customer_id: str, asked: tuple[int | None, str, float | None], fallback: bool
    ) -> doc.CustomerProducts:
        """asked: k, protocol and share_new. fallback: whether an unknown customer gets popular products."""
        wish = self._wish(*asked)
        user = state.customers.find(customer_id)
        if user is not None:
            items = for_customer(state, user, wish)
            return doc.CustomerProducts(customer_id=customer_id, **_listed(state, items))
        told = f"no customer has the id '{customer_id}' in run {state.card.run}"
        if not fallback:
            raise Refused(404, "unknown_customer", f"{told}; POST /recommend takes a basket of a new one")
        return doc.CustomerProducts(customer_id=customer_id, **self._popular(state, wish.k, told))

    def basket(self, state: State, basket: doc.Basket) -> doc.BasketProducts:
        """Codes that are not known are left out and told."""
        wish = self._wish(basket.k, basket.protocol, basket.share_new)
        if len(basket.items) > self._max_lines:
            told = f"a basket has at most {self._max_lines} lines, got {len(basket.items)}"
            raise Refused(422, "basket_too_large", told, ["body.items"])
        lines = [(one, 1.0) if isinstance(one, str) else (one.stock_code, one.quantity) for one in basket.items]
        known, quantities, unknown = basket_of(state, lines)
        if len(known) == 0:
            told = "no product has one of these codes"
            return doc.BasketProducts(unknown=unknown, **self._popular(state, wish.k, told))
        items = for_basket(state, known, quantities, wish)
        return doc.BasketProducts(unknown=unknown, **_listed(state, items))

    def similar(self, state: State, stock_code: str, k: int) -> doc.SimilarProducts:
        """Popular products where no model knows what goes with this one."""
        item = state.items.find(tidy_code(stock_code))
        if item is None:
            raise Refused(404, "unknown_stock_code", f"no product has the code '{stock_code}' in run {state.card.run}")
        items = similar_to(state, item, k)
        told = _listed(state, items) if items else self._popular(state, k, "no model knows what goes with this product")
        return doc.SimilarProducts(stock_code=state.items.of(item), **told)

    def _wish(self, k: int | None, protocol: str, share_new: float | None) -> Wish:
        number = k or self._listed.top_n
        if protocol == ALL_ITEMS:
            return Wish(number, protocol, self._listed.share_new if share_new is None else share_new)
        if share_new is not None:
            raise Refused(422, "invalid_request", f"share_new goes with protocol={ALL_ITEMS} alone", ["share_new"])
        return Wish(number, FIRST_PURCHASE)

    def _popular(self, state: State, k: int, why: str) -> dict[str, Any]:
        items = most_popular(state, k)
        return {**_listed(state, items), "fallback": "popularity", "message": f"{why}; {_EVERYONE}"}


def run_of(state: State) -> doc.Run:
    """The run as every answer names it."""
    moment = (_EPOCH + timedelta(microseconds=state.card.moment)).isoformat().replace("+00:00", "Z")
    return doc.Run(id=state.card.run, digest=state.card.digest, fit=state.card.fit, moment=moment)


def _listed(state: State, items: Sequence[Product]) -> dict[str, Any]:
    told = [
        doc.Product(**{**vars(one), "sources": [doc.Source(name=name, rank=rank) for name, rank in one.sources]})
        for one in items
    ]
    return {"run": run_of(state), "fallback": None, "items": told}
