"""Replies as documents: what is looked up, what is asked of the models, and what stands in for what is not known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recsys_spark.contracts.columns import ALL_ITEMS, FIRST_PURCHASE
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.privacy.customer_ids import normal_id
from recsys_spark.serving import documents as doc
from recsys_spark.serving.answers import (
    Product,
    Wish,
    basket_of,
    for_basket,
    for_customer,
    most_popular,
    similar_to,
)
from recsys_spark.serving.bundle import BundleCard
from recsys_spark.serving.plan import Served
from recsys_spark.serving.state import State
from recsys_spark.spelling import tidy_code

_EVERYONE = "this is what everyone buys"


class Replies:
    """All that is computed for a request, from one state."""

    def __init__(self, state: State, config: PipelineConfig) -> None:
        self.state = state
        self._listed, self._max_lines = config.recommend, config.serve.max_basket_items

    @classmethod
    def open(cls, folder: Path, served: Served, run: str) -> Replies:
        """Replies from a bundle; see `State.open`."""
        return cls(State.open(folder, served, run), served.config)

    @property
    def card(self) -> BundleCard:
        return self.state.card

    @property
    def num_processes(self) -> int:
        return 1  # this one

    def reply(self, kind: str, *asked: Any) -> str:
        """The document of a kind (customer, basket, similar) as JSON. Raises doc.Refused."""
        kinds: dict[str, Callable[..., doc.Products]] = {
            "customer": self.customer,
            "basket": self.basket,
            "similar": self.similar,
        }
        return kinds[kind](*asked).model_dump_json()

    def customer(
        self, customer_id: str, asked: tuple[int | None, str, float | None], fallback: bool
    ) -> doc.CustomerProducts:
        """asked: k, protocol and share_new. fallback: whether an unknown customer gets popular products."""
        wish = self._wish(*asked, part="query")
        user = self.state.customers.find(normal_id(customer_id))
        if user is not None:
            items = for_customer(self.state, user, wish)
            return doc.CustomerProducts(customer_id=self.state.customers.of(user), **self._told(items))
        told = f"no customer has the id '{customer_id}' in run {self.card.run}"
        if not fallback:
            raise doc.Refused(404, "unknown_customer", f"{told}; POST /recommend takes a basket of a new one")
        return doc.CustomerProducts(customer_id=customer_id, **self._popular(wish.k, told))

    def basket(self, basket: doc.Basket) -> doc.BasketProducts:
        """Codes that are not known are left out and told."""
        wish = self._wish(basket.k, basket.protocol, basket.share_new, part="body")
        if len(basket.items) > self._max_lines:
            told = f"a basket has at most {self._max_lines} lines, got {len(basket.items)}"
            raise doc.Refused(422, "basket_too_large", told, ["body.items"])
        lines = [(one, 1.0) if isinstance(one, str) else (one.stock_code, one.quantity) for one in basket.items]
        known, quantities, unknown = basket_of(self.state, lines)
        if len(known) == 0:
            told = "no product has one of these codes"
            return doc.BasketProducts(unknown=unknown, **self._popular(wish.k, told))
        items = for_basket(self.state, known, quantities, wish)
        return doc.BasketProducts(unknown=unknown, **self._told(items))

    def similar(self, stock_code: str, k: int) -> doc.SimilarProducts:
        """Popular products where no model knows what goes with this one."""
        item = self.state.items.find(tidy_code(stock_code))
        if item is None:
            raise doc.Refused(
                404, "unknown_stock_code", f"no product has the code '{stock_code}' in run {self.card.run}"
            )
        items = similar_to(self.state, item, k)
        listed = self._told(items) if items else self._popular(k, "no model knows what goes with this product")
        return doc.SimilarProducts(stock_code=self.state.items.of(item), **listed)

    def _wish(self, k: int | None, protocol: str, share_new: float | None, part: str) -> Wish:
        """part: of the request that they came in."""
        number = k or self._listed.top_n
        if protocol == ALL_ITEMS:
            return Wish(number, protocol, self._listed.share_new if share_new is None else share_new)
        if share_new is not None:
            told = f"share_new goes with protocol={ALL_ITEMS} alone"
            raise doc.Refused(422, "invalid_request", told, [f"{part}.share_new"])
        return Wish(number, FIRST_PURCHASE)

    def _popular(self, k: int, why: str) -> dict[str, Any]:
        told = self._told(most_popular(self.state, k))
        return {**told, "fallback": "popularity", "message": f"{why}; {_EVERYONE}"}

    def _told(self, items: Sequence[Product]) -> dict[str, Any]:
        told = [
            doc.Product(**{**vars(one), "sources": [doc.Source(name=name, rank=rank) for name, rank in one.sources]})
            for one in items
        ]
        return {"run": doc.run_of(self.card), "fallback": None, "items": told}
