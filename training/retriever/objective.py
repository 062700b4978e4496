"""The retriever's loss of a batch, and its Recall@K on the dev slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsys_spark.contracts.columns import ALL_ITEMS, FIRST_PURCHASE, PAD_IDX
from training import losses, negatives
from training.batches import RetrieverBatch
from training.process_group import Group
from training.retriever.model import PooledHistory, TwoTower
from training.retriever.trends import RecentSales

_ITEMS_PER_SLICE = 65_536
_UNIFORM, _OWN = 1, 2  # purposes of draws


@dataclass(frozen=True)
class ObjectiveOptions:
    """form: `shared` (in-batch and uniform candidates with logQ) or `per_example` (own uniform negatives).

    num_negatives: uniform draws, of the batch or of each query. targets: `all` items of the basket, or only the `new`
    ones. basket_exponent: a target weighs (targets of its basket) to the minus this. dev_protocol: what Recall@K on the
    dev slice counts; for first_purchase new items alone, ranked without those of the history.
    """

    form: str = "shared"
    num_negatives: int = 1024
    temperature: float = 0.15
    learn_temperature: bool = False
    targets: str = "all"
    basket_exponent: float = 0.5
    log_q: bool = True
    dev_protocol: str = ALL_ITEMS


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


class RetrieverTask:
    """What the loop trains.

    share: of each item among the training targets; is_known: it has an event up to the cutoff, (num_items + 1,) each.
    has_examples: of each customer, (num_users + 1,); None for all.
    """

    def __init__(
        self,
        model: RetrieverModel,
        options: ObjectiveOptions,
        share: Tensor,
        is_known: Tensor,
        sales: RecentSales | None,
        side: Tensor | None,
        group: Group,
        seed: int,
        dev: Callable[[], Iterable[RetrieverBatch]] | None = None,
        k: tuple[int, ...] = (20, 100),
        has_examples: Tensor | None = None,
    ) -> None:
        self.model, self.options, self.group, self.seed, self.dev, self.k = model, options, group, seed, dev, k
        self.share, self.is_known = share.to(group.device), is_known.to(group.device)
        self.sales = None if sales is None else sales.to(group.device)
        self.side = None if side is None else side.to(group.device)
        self.has_examples = None if has_examples is None else has_examples.to(group.device)
        self.num_items = len(share) - 1
        # Negatives are drawn among these: an item first sold after the cutoff would tell that it will be.
        self.known_items = torch.cat([self.is_known.new_zeros(1).long(), self.is_known.nonzero().flatten()])
        self.num_known = len(self.known_items) - 1
        self.place_of = self.is_known.long().cumsum(0) * self.is_known  # of an item among them, from 1; 0 for others

    def loss(self, batch: RetrieverBatch, step: int) -> Tensor:
        """A rank's part of a global step, such that the mean over ranks is the mean over all targets.

        Shared candidates are those of all ranks.
        """
        batch = batch.to(self.group.device)
        return self._per_example(batch, step) if self.options.form == "per_example" else self._shared(batch, step)

    def _shared(self, batch: RetrieverBatch, step: int) -> Tensor:
        options = self.options
        in_batch = self.group.gather_rows(batch.positives[self._is_target(batch)])
        drawn_by = negatives.generator(self.seed, step, _UNIFORM)
        places = negatives.uniform_items(options.num_negatives, self.num_known, drawn_by)
        candidates_N = torch.unique(torch.cat([in_batch, self.known_items[places.to(in_batch.device)]]))
        users, items_M, vectors = self._encode(batch, candidates_N)
        cosines = self._shared_cosines(batch, users, candidates_N, items_M, vectors)
        trend = None if self.sales is None else self.sales.log_counts(batch.period, candidates_N)
        log_q = torch.zeros(len(candidates_N), device=cosines.device)
        if options.log_q:
            share = self.share[candidates_N]
            log_q = negatives.log_inclusion(share, len(in_batch), options.num_negatives, self.num_known)
        place = torch.searchsorted(candidates_N, batch.positives).clamp_max(len(candidates_N) - 1)
        masked = negatives.masked_candidates(candidates_N, batch.positives)
        weights = self._weights(batch)
        loss = losses.shared_softmax(self.model.logits(cosines, trend), place, weights, log_q, masked)
        return self._over_all_ranks(loss, weights)

    def _per_example(self, batch: RetrieverBatch, step: int) -> Tensor:
        places = (self.place_of[batch.history], self.place_of[batch.positives])
        draws = self._own_draws(batch, step)
        own_BK = self.known_items[negatives.own_negatives(*places, draws, self.num_known)]
        offered = torch.cat([batch.positives, own_BK], dim=1)
        users, items_M, vectors = self._encode(batch, offered.flatten())
        cosines = self._own_cosines(batch, users, offered, items_M, vectors)
        trend = None if self.sales is None else self.sales.log_counts(batch.period, offered)
        target, negative = self.model.logits(cosines, trend).tensor_split([batch.positives.shape[1]], dim=1)
        weights = self._weights(batch)
        loss = losses.info_nce(target, negative.masked_fill(own_BK == PAD_IDX, -torch.inf), weights)
        return self._over_all_ranks(loss, weights)

    def _shared_cosines(
        self, batch: RetrieverBatch, users: Tensor, candidates_N: Tensor, items_M: Tensor, vectors: Tensor
    ) -> Tensor:
        """Of every query with every candidate, (B, N). vectors: of items_M, for towers that no sales are told to."""
        if self.model.towers.trend is None:
            return users @ vectors[torch.searchsorted(items_M, candidates_N)].T
        # Each query meets the candidates as they stood in the snapshot that it may know.
        periods, group_B = torch.unique(batch.period, return_inverse=True)
        found = users.new_zeros(len(users), len(candidates_N))
        for number, period in enumerate(periods.tolist()):
            rows = (group_B == number).nonzero().flatten()
            own = users[rows] @ self._vectors_in(candidates_N, period).T.to(users.dtype)
            found = found.index_copy(0, rows, own.to(found.dtype))  # autocast computes in another type
        return found

    def _own_cosines(
        self, batch: RetrieverBatch, users: Tensor, offered_BK: Tensor, items_M: Tensor, vectors: Tensor
    ) -> Tensor:
        """Of each query with its own items, (B, K)."""
        if self.model.towers.trend is None:
            return torch.einsum("bd,bkd->bk", users, vectors[torch.searchsorted(items_M, offered_BK)])
        periods, group_B = torch.unique(batch.period, return_inverse=True)
        found = users.new_zeros(offered_BK.shape)
        for number, period in enumerate(periods.tolist()):
            rows = (group_B == number).nonzero().flatten()
            items, place = torch.unique(offered_BK[rows], return_inverse=True)
            own = self._vectors_in(items, period)[place].to(users.dtype)
            cosines = torch.einsum("bd,bkd->bk", users[rows], own)
            found = found.index_copy(0, rows, cosines.to(found.dtype))
        return found

    def _vectors_in(self, items_M: Tensor, period: int | None) -> Tensor:
        """Vectors of items as of a snapshot, (M, D); None for those that a history looks up."""
        told = None if period is None or self.sales is None else self.sales.inputs(period)[items_M]
        return self.model.towers.items(items_M, None if self.side is None else self.side[items_M], told)

    def _own_draws(self, batch: RetrieverBatch, step: int) -> Tensor:
        """Draws for the rows that this rank has of the global batch, (B, K). Every rank has as many rows."""
        drawn_by = negatives.generator(self.seed, step, _OWN)
        shape = self.group.world_size, len(batch), self.options.num_negatives
        return torch.rand(shape, dtype=torch.float64, generator=drawn_by)[self.group.rank].to(self.group.device)

    def _over_all_ranks(self, loss: Tensor, weights: Tensor) -> Tensor:
        """A mean over this rank's weights, scaled so that the mean over ranks is that over the weights of all."""
        own = weights.sum()
        return loss * own * self.group.world_size / self.group.sum(own).clamp_min(1e-9)

    def _is_target(self, batch: RetrieverBatch) -> Tensor:
        return _filled(batch, new_only=self.options.targets == "new")

    def _weights(self, batch: RetrieverBatch) -> Tensor:
        """Of each target, (B, P); 0 for what is none."""
        is_target = self._is_target(batch).float()
        return is_target / is_target.sum(dim=1, keepdim=True).clamp_min(1) ** self.options.basket_exponent

    def _encode(self, batch: RetrieverBatch, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """User vectors, and the distinct items of histories and `others` with their vectors: one pass for both."""
        is_unused = self.model.towers.shape.user_tower == "id"
        history = torch.zeros_like(batch.history) if is_unused else batch.history
        items_M = torch.unique(torch.cat([others, history.flatten()]))
        vectors = self._vectors_in(items_M, None)
        pooled = PooledHistory.of(history, batch.history_days, items_M)
        users = self.model.towers.users(batch.user_idx, pooled, vectors, batch.context)
        return users, items_M, vectors

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Recall@K per dev target of `dev_protocol` over the whole catalogue, by the vectors and trends that
        `export_towers` leaves; empty where there is no such target.
        """
        if self.dev is None:
            return {}
        looked_up, latest = self.served_vectors()
        found = torch.zeros(len(self.k), dtype=torch.float64, device=self.group.device)
        count = torch.zeros((), dtype=torch.float64, device=self.group.device)
        for read in self.dev():
            if len(read) == 0:
                continue
            batch = read.to(self.group.device)
            is_target = _filled(batch, new_only=self.options.dev_protocol == FIRST_PURCHASE)
            top = self._top(batch, self._served_users(batch, looked_up), latest)
            for place, k in enumerate(self.k):
                hit = (batch.positives[:, :, None] == top[:, None, :k]).any(dim=2)
                found[place] += (hit & is_target).sum()
            count += is_target.sum()
        found, count = self.group.sum(found), self.group.sum(count)
        return {f"recall@{k}": float(hits / count) for k, hits in zip(self.k, found, strict=True) if count > 0}

    def item_vectors(self, period: int | None = None) -> Tensor:
        """Vectors of all items, (num_items + 1, D); row 0 is zero. period: the snapshot that an item tower takes sales
        from, where it is told of them; None for the vectors that a history looks up.
        """
        items = torch.arange(self.num_items + 1, device=self.group.device)
        vectors = torch.cat([self._vectors_in(part, period) for part in torch.split(items, _ITEMS_PER_SLICE)])
        vectors[PAD_IDX] = 0
        return vectors

    def served_vectors(self) -> tuple[Tensor, Tensor]:
        """Vectors of all items that a history looks up, and those that are ranked, as of the cutoff: the same where no
        item tower is told of sales. Zero for items that the fit does not know.
        """
        looked_up = self.item_vectors()
        looked_up[~self.is_known] = 0
        if self.model.towers.trend is None or self.sales is None:
            return looked_up, looked_up
        latest = self.item_vectors(self.sales.num_periods - 1)
        latest[~self.is_known] = 0
        return looked_up, latest

    def _served_users(self, batch: RetrieverBatch, looked_up: Tensor) -> Tensor:
        """Vectors of queries, (B, D), without the items and customers that the fit does not know; zero without any."""
        towers, user = self.model.towers, batch.user_idx
        if self.has_examples is not None:
            user = user * self.has_examples[user]
        history = batch.history * self.is_known[batch.history]
        pooled = PooledHistory.of(history, batch.history_days, torch.arange(len(looked_up), device=user.device))
        is_known = torch.zeros_like(user, dtype=torch.bool)
        if towers.shape.user_tower != "id":
            is_known |= history.any(dim=1)
        if towers.user_emb is not None:
            is_known |= user != PAD_IDX
        return towers.users(user, pooled, looked_up, batch.context) * is_known[:, None]

    def _top(self, batch: RetrieverBatch, users: Tensor, vectors: Tensor) -> Tensor:
        """The best items of each query among those the fit has seen, (B, largest k); PAD_IDX where there are fewer."""
        latest = None if self.sales is None else self.sales.of_period(self.sales.num_periods - 1)
        scores, top = users.new_empty(len(batch), 0), batch.history[:, :0]
        everything = torch.arange(len(vectors), device=vectors.device)
        for items in torch.split(everything, _ITEMS_PER_SLICE):  # so that memory does not grow with the catalogue
            trend = None if latest is None else latest[items]
            offered = self.model.logits(users @ vectors[items].T, trend).masked_fill(~self.is_known[items], -torch.inf)
            if self.options.dev_protocol == FIRST_PURCHASE:
                offered = _without(offered, items, batch.history)
            scores, top = torch.cat([scores, offered], dim=1), torch.cat([top, items.expand(offered.shape)], dim=1)
            scores, place = scores.topk(min(max(self.k), scores.shape[1]), dim=1)
            top = top.gather(1, place)
        return top.masked_fill(scores == -torch.inf, PAD_IDX)


def _filled(batch: RetrieverBatch, new_only: bool) -> Tensor:
    """Places of the basket that hold an item, or one that was never bought before, (B, P)."""
    filled = batch.positives != PAD_IDX
    return filled & ~batch.is_repeat if new_only else filled


def _without(scores_BN: Tensor, items_N: Tensor, history_BL: Tensor) -> Tensor:
    """The scores of consecutive items with -inf for those of each query's history."""
    place = history_BL - items_N[0]
    row, column = ((place >= 0) & (place < len(items_N))).nonzero(as_tuple=True)
    return scores_BN.index_put((row, place[row, column]), scores_BN.new_tensor(-torch.inf))
