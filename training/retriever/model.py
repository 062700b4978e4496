"""The two towers: items and users as unit vectors whose inner product says how well they go together.

Names: B queries, L places of history, M items, N candidates, S snapshots of sales, D size of vectors, K that of
factors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from recsys_spark.contracts.columns import PAD_IDX
from recsys_spark.contracts.context import CONTEXT_SIZES
from training.dropout import Dropout
from training.gather import rows_of

_TREND_INPUTS = 2


@dataclass(frozen=True)
class TowerShape:
    """num_users, num_items: largest indices; 0 is padding. num_side: largest side feature of an item, 0 for none.

    user_tower: `id` (a vector per customer), `history` (pooled item vectors) or `both` (their sum).
    pooling: `mean`, `recency` (exp(-days / decay_days)) or `attention` (learned).
    tied: the history looks its items up in the item tower; else it has a table of its own. hist_max: the newest
    events that a history holds. context: features of contracts/context.py, whose values have a vector each.
    trend_input: items are told of their late sales (RecentSales.inputs), but not those of a history.
    """

    num_users: int
    num_items: int
    dim: int = 256
    user_tower: str = "history"
    pooling: str = "recency"
    tied: bool = True
    decay_days: float = 90.0
    num_blocks: int = 2
    dropout: float = 0.1
    num_side: int = 0
    hist_max: int = 200
    context: tuple[str, ...] = ()
    trend_input: bool = False


class ResidualBlock(nn.Module):
    """x + Dropout(ReLU(LayerNorm(Linear(x)))), (M, D) to (M, D)."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.ReLU(), Dropout(dropout))

    def forward(self, x_MD: Tensor) -> Tensor:
        found: Tensor = self.body(x_MD)
        return x_MD + found


class Head(nn.Module):
    """Residual blocks, LayerNorm and L2 norm. Without blocks the vectors are only brought to unit length."""

    def __init__(self, dim: int, num_blocks: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(dim, dropout) for _ in range(num_blocks)))
        self.norm = nn.LayerNorm(dim) if num_blocks else nn.Identity()

    def forward(self, x_MD: Tensor) -> Tensor:
        return nnf.normalize(self.norm(self.blocks(x_MD)), dim=-1)


class TwoTower(nn.Module):
    """Item vectors from indices (and side features), user vectors from an index, a history, or both."""

    def __init__(self, shape: TowerShape, sparse: bool = True) -> None:
        super().__init__()
        self.shape = shape
        self.item_emb = _table(shape.num_items, shape.dim, sparse)
        self.item_head = Head(shape.dim, shape.num_blocks, shape.dropout)
        self.user_head = Head(shape.dim, shape.num_blocks, shape.dropout)
        self.user_emb = None if shape.user_tower == "history" else _table(shape.num_users, shape.dim, sparse)
        untied = shape.user_tower != "id" and not shape.tied
        self.history_emb = _table(shape.num_items, shape.dim, sparse) if untied else None
        self.side_emb = _table(shape.num_side, shape.dim, sparse) if shape.num_side else None
        if self.side_emb is not None:  # a feature that training never saw says nothing
            nn.init.zeros_(self.side_emb.weight)
        self.context = ContextVectors(shape.context, shape.dim, sparse) if shape.context else None
        self.trend = nn.Linear(_TREND_INPUTS, shape.dim, bias=False) if shape.trend_input else None
        if self.trend is not None:
            nn.init.zeros_(self.trend.weight)
        self.attention = nn.Parameter(torch.zeros(shape.dim + 1)) if shape.pooling == "attention" else None

    def items(self, items_M: Tensor, side_MS: Tensor | None = None, sales_M2: Tensor | None = None) -> Tensor:
        """Unit vectors of items, (M, D); zero for those of which nothing is known. items_M: PAD_IDX for an item without
        a vector of its own. side_MS: indices of each item's side features, 0 for padding. sales_M2: of
        RecentSales.inputs; without, the vectors that a history looks up.
        """
        vectors: Tensor = self.item_emb(items_M)
        if self.side_emb is not None and side_MS is not None:
            filled = (side_MS != PAD_IDX).sum(dim=1, keepdim=True).clamp_min(1)
            vectors = vectors + self.side_emb(side_MS).sum(dim=1) / filled
        if self.trend is not None and sales_M2 is not None:
            vectors = vectors + self.trend(sales_M2)
        # Also for the gradient, which the unit length of no vector at all makes infinite.
        found: Tensor = self.item_head(vectors) * _is_any(vectors)
        return found

    def users(
        self, user_B: Tensor, history: PooledHistory, looked_up_MD: Tensor, context_BC: Tensor | None = None
    ) -> Tensor:
        """Unit vectors of queries, (B, D).

        looked_up_MD: vectors of `items` for those that the history's places name; unused where the towers share none.
        context_BC: the value of every feature of CONTEXT_SIZES; unused by a tower that is told of none.
        """
        vectors = torch.zeros(len(user_B), self.shape.dim, device=user_B.device)
        if self.shape.user_tower != "id":
            vectors = vectors + self.pool(history, self._held(history, looked_up_MD))
        if self.user_emb is not None:
            vectors = vectors + self.user_emb(user_B)
        if self.context is not None and context_BC is not None:
            is_known = _is_any(vectors)  # of whom nothing is known, the context says too little
            vectors = vectors + self.context(context_BC) * is_known
        found: Tensor = self.user_head(vectors)
        return found

    def _held(self, history: PooledHistory, looked_up_MD: Tensor) -> Tensor:
        """The vectors that the places of histories name, (M, D)."""
        if self.history_emb is None:
            return looked_up_MD
        # The catalogue is the table itself: looking all of it up would copy it.
        return self.history_emb.weight if history.items_M is None else self.history_emb(history.items_M)

    def pool(self, history: PooledHistory, vectors_MD: Tensor) -> Tensor:
        """Each history's weighted mean of item vectors, at unit length, (B, D); zero for an empty one."""
        weights = self._weights(history, vectors_MD).to(vectors_MD.dtype)
        sums = nnf.embedding_bag(history.place_E, vectors_MD, history.start_B, mode="sum", per_sample_weights=weights)
        return nnf.normalize(sums, dim=-1)

    def _weights(self, history: PooledHistory, vectors_MD: Tensor) -> Tensor:
        if self.shape.pooling == "mean":
            return torch.ones_like(history.days_E)
        ages_E = history.days_E / self.shape.decay_days
        if self.attention is None:
            return torch.exp(-ages_E)
        affinity_M = vectors_MD @ self.attention[:-1]
        # Bounded, so that no softmax over each history is needed: its sum is normalised away.
        affinity_E = rows_of(affinity_M, history.place_E)
        return torch.exp(4 * torch.tanh(affinity_E) - ages_E * nnf.softplus(self.attention[-1]))


class RetrieverModel(nn.Module):
    """The towers with what turns cosines into logits: cosine / temperature + trend weight x log recent sales."""

    def __init__(self, towers: TwoTower, temperature: float, learn_temperature: bool, trend: bool) -> None:
        super().__init__()
        self.towers = towers
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log(), requires_grad=learn_temperature)
        self.trend_weight = nn.Parameter(torch.tensor(0.5)) if trend else None

    def logits(self, cosines: Tensor, trend: Tensor | None) -> Tensor:
        scaled = cosines.float() / self.log_temperature.exp()
        return scaled if self.trend_weight is None or trend is None else scaled + self.trend_weight * trend

    def factors(
        self, users_BD: Tensor, vectors_ND: Tensor, trend_SN: Tensor | None, snapshot_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits as inner products: of queries, (B, K), and items, (N, K).

        snapshot_B: which row of the trends is a query's. The trends take S more places: one of a query's is 1, the
        others are 0.
        """
        queries_BD, vectors_ND = users_BD.float() / self.log_temperature.exp(), vectors_ND.float()
        if self.trend_weight is None or trend_SN is None:
            return queries_BD, vectors_ND
        chosen_BS = nnf.one_hot(snapshot_B, len(trend_SN)).float()
        return torch.cat([queries_BD, chosen_BS], dim=1), torch.cat([vectors_ND, self.trend_weight * trend_SN.T], dim=1)


class ContextVectors(nn.Module):
    """A vector for each value of the chosen features, (B, C) to the sum of a query's, (B, D).

    They start as zeros, so that a value which training never saw says nothing.
    """

    def __init__(self, chosen: tuple[str, ...], dim: int, sparse: bool) -> None:
        super().__init__()
        self.chosen = tuple(feature for feature in CONTEXT_SIZES if feature in chosen)
        self.columns = [tuple(CONTEXT_SIZES).index(feature) for feature in self.chosen]
        sizes = [CONTEXT_SIZES[feature] for feature in self.chosen]
        self.first = [sum(sizes[:number]) for number in range(len(sizes))]
        self.table = _table(sum(sizes), dim, sparse)
        nn.init.zeros_(self.table.weight)

    def forward(self, context_BC: Tensor) -> Tensor:
        own = context_BC[:, self.columns]
        rows = torch.where(own > 0, own + own.new_tensor(self.first), PAD_IDX)
        found: Tensor = self.table(rows).sum(dim=1)
        return found

    def of(self, feature: str) -> Tensor:
        """The vectors of a feature's values, (values + 1, D); row 0 is zero."""
        first = self.first[self.chosen.index(feature)]
        held = self.table.weight[first + 1 : first + 1 + CONTEXT_SIZES[feature]]
        return torch.cat([torch.zeros_like(held[:1]), held])


@dataclass(frozen=True)
class PooledHistory:
    """The E items of B histories without padding, end to end: that of query b begins at start_B[b].

    items_M: distinct items that hold all of them, ascending, None for the whole catalogue from PAD_IDX on; place_E:
    position of each event's item among them. days_E: how much older an event is than the newest of its history. Only
    ratios of weights count, and those of very old events would be too small for float32.
    """

    items_M: Tensor | None
    place_E: Tensor
    start_B: Tensor
    days_E: Tensor

    @classmethod
    def of(cls, history_BL: Tensor, days_BL: Tensor) -> PooledHistory:
        """Of the whole catalogue. days_BL: of each event, since any one moment."""
        filled = history_BL != PAD_IDX
        lengths = filled.sum(dim=1)
        start_B = lengths.cumsum(0) - lengths
        newest_B = days_BL.masked_fill(~filled, torch.inf).amin(dim=1)
        return cls(None, history_BL[filled], start_B, (days_BL - newest_B[:, None])[filled])

    def among(self, others: Tensor) -> tuple[PooledHistory, Tensor]:
        """A history of the whole catalogue over its own items and others alone, and where the others are there."""
        held = torch.cat([others.flatten(), self.place_E])
        items_M, place = torch.unique(held, return_inverse=True)
        place_of_others, place_E = place.tensor_split([others.numel()])
        return replace(self, items_M=items_M, place_E=place_E), place_of_others.view_as(others)


def _is_any(vectors_MD: Tensor) -> Tensor:
    """Whether a vector is another than zero, (M, 1). A norm takes a fraction of the time of `any` on a CPU."""
    return torch.linalg.vector_norm(vectors_MD.detach(), dim=1, keepdim=True) > 0


def _table(num_rows: int, dim: int, sparse: bool) -> nn.Embedding:
    table = nn.Embedding(num_rows + 1, dim, padding_idx=PAD_IDX, sparse=sparse)
    nn.init.normal_(table.weight, std=dim**-0.5)
    with torch.no_grad():
        table.weight[PAD_IDX].zero_()
    return table
