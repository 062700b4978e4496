"""Vectors of items as queries meet them: with their side features, and as of a snapshot of their sales."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import Tensor

from recsys_spark.contracts.columns import PAD_IDX
from training.retriever.item_facts import ItemFacts
from training.retriever.model import RetrieverModel
from training.retriever.trends import RecentSales

ITEMS_PER_SLICE = 65_536  # so that memory for what lies between does not grow with the catalogue


@dataclass(frozen=True)
class ServedVectors:
    """All items as of the cutoff, (num_items + 1, D) each; zero for padding and for what the fit does not know.

    looked_up: of those in a history. ranked: those that a query is held against.
    """

    looked_up: Tensor
    ranked: Tensor

    @property
    def are_one(self) -> bool:
        """Whether histories look up what is ranked, as where no item tower is told of sales."""
        return self.looked_up is self.ranked


class Catalogue:
    """The items of a model. sales: where scores or item vectors follow from them."""

    def __init__(
        self, model: RetrieverModel, facts: ItemFacts, sales: RecentSales | None, device: torch.device
    ) -> None:
        self.model, self.facts = model, facts.to(device)
        self.sales = None if sales is None else sales.to(device)
        self.num_items = len(facts.share) - 1
        self.device = device

    @property
    def has_snapshots(self) -> bool:
        """Whether an item's vector is another one in each period."""
        return self.model.towers.trend is not None and self.sales is not None

    def looked_up(self, items_M: Tensor) -> Tensor:
        """Vectors of items in a history, which are those of all periods, (M, D)."""
        return self._vectors(items_M, None)

    def ranked(self, items_M: Tensor, period: int) -> Tensor:
        """Vectors of items that are held against queries of a period, (M, D)."""
        return self._vectors(items_M, None if self.sales is None else self.sales.inputs(period, items_M))

    def log_sales(self, period: Tensor, items: Tensor) -> Tensor | None:
        """Of RecentSales.log_counts."""
        return None if self.sales is None else self.sales.log_counts(period, items)

    @torch.no_grad()
    def served(self) -> ServedVectors:
        """The vectors that the fit leaves."""
        slices = torch.arange(self.num_items + 1, device=self.device).split(ITEMS_PER_SLICE)
        looked_up = self._of_known(torch.cat([self.looked_up(items) for items in slices]))
        if self.sales is None or not self.has_snapshots:
            return ServedVectors(looked_up, looked_up)
        latest = self.sales.num_periods - 1
        return ServedVectors(looked_up, self._of_known(torch.cat([self.ranked(items, latest) for items in slices])))

    def _of_known(self, vectors: Tensor) -> Tensor:
        vectors[~self.facts.is_known] = 0
        vectors[PAD_IDX] = 0
        return vectors

    def _vectors(self, items_M: Tensor, sales_M2: Tensor | None) -> Tensor:
        return self.model.towers.items(self.facts.own(items_M), self.facts.side_of(items_M), sales_M2)
