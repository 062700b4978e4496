"""What a tower is told of items beside their indices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import Tensor

from recsys_spark.contracts.columns import PAD_IDX
from recsys_spark.contracts.retriever_config import TowerConfig
from training.files import read_table


@dataclass(frozen=True)
class ItemFacts:
    """By item_idx, of 0 to num_items.

    share: of the training targets that count. is_known: the item has an event up to the cutoff. side: its side
    features, (num_items + 1, S), 0 for padding; None for a tower that asks for none. is_learned: training can learn a
    vector of the item's own; the others are nothing but their side features. None for all.
    """

    share: Tensor
    is_known: Tensor
    side: Tensor | None = None
    is_learned: Tensor | None = None

    @classmethod
    def load(cls, path: str, num_items: int, tower: TowerConfig, co_purchases_path: str | None = None) -> ItemFacts:
        """Of TOWER_ITEMS and, where the tower starts from them, CO_PURCHASES."""
        counted = "num_new_targets" if tower.targets == "new" else "num_targets"
        sides = [f"side_{feature}" for feature in tower.side_features]
        table = read_table(path, ["item_idx", counted, *sides])
        index = torch.tensor(table.column("item_idx").to_numpy())
        count = torch.zeros(num_items + 1, dtype=torch.float64)
        count[index] = torch.tensor(table.column(counted).to_numpy(), dtype=torch.float64)
        share, is_known = (count / count.sum().clamp_min(1)).float(), torch.zeros(num_items + 1, dtype=torch.bool)
        is_known[index] = True
        if not sides or not len(index):
            return cls(share, is_known)
        held = (table.column(name).combine_chunks().flatten().to_numpy() for name in sides)
        own = torch.cat([torch.tensor(values, dtype=torch.long).view(len(index), -1) for values in held], dim=1)
        side = torch.zeros(num_items + 1, own.shape[1], dtype=torch.long)
        side[index] = own
        # Of any other item training would learn nothing but that it is a negative.
        is_learned = count > 0
        if co_purchases_path is not None:
            is_learned[_with_pairs(co_purchases_path)] = True
        return cls(share, is_known, side, is_learned)

    def to(self, device: torch.device) -> ItemFacts:
        return replace(self, **{name: values.to(device) for name, values in vars(self).items() if values is not None})

    def own(self, items_M: Tensor) -> Tensor:
        """The items, PAD_IDX in place of those without a vector of their own."""
        return items_M if self.is_learned is None else items_M.where(self.is_learned[items_M], PAD_IDX)

    def side_of(self, items_M: Tensor) -> Tensor | None:
        return None if self.side is None else self.side[items_M]


def _with_pairs(path: str) -> Tensor:
    """The items of CO_PURCHASES."""
    pairs = read_table(path, ["item_idx", "neighbour_idx"])
    return torch.unique(torch.cat([torch.tensor(column.to_numpy()) for column in pairs.columns]))
