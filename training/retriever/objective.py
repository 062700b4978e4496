"""The retriever's loss of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import Tensor

from recsys_spark.contracts.columns import ALL_ITEMS, PAD_IDX
from training import losses, negatives
from training.batches import RetrieverBatch
from training.process_group import Group
from training.retriever.catalogue import Catalogue
from training.retriever.dev_recall import dev_recall
from training.retriever.item_facts import ItemFacts
from training.retriever.model import PooledHistory, RetrieverModel
from training.retriever.trends import RecentSales

_UNIFORM, _OWN = 1, 2  # purposes of draws


@dataclass(frozen=True)
class ObjectiveOptions:
    """form: `shared` (in-batch and uniform candidates with logQ) or `per_example` (own uniform negatives).

    num_negatives: uniform draws, of the batch or of each query. targets: `all` items of the basket, or only the `new`
    ones. basket_exponent: a target weighs (targets of its basket) to the minus this. dev_protocol: of `dev_recall`.
    """

    form: str = "shared"
    num_negatives: int = 1024
    temperature: float = 0.15
    learn_temperature: bool = False
    targets: str = "all"
    basket_exponent: float = 0.5
    log_q: bool = True
    dev_protocol: str = ALL_ITEMS


class RetrieverTask:
    """What the loop trains.

    dev: batches of the dev slice, None without one; k: of Recall@K there. has_examples: of each customer,
    (num_users + 1,); None for all.
    """

    def __init__(
        self,
        model: RetrieverModel,
        options: ObjectiveOptions,
        *,
        items: ItemFacts,
        sales: RecentSales | None,
        group: Group,
        seed: int,
        dev: Callable[[], Iterable[RetrieverBatch]] | None = None,
        k: tuple[int, ...] = (20, 100),
        has_examples: Tensor | None = None,
    ) -> None:
        self.model, self.options, self.group, self.seed, self.dev, self.k = model, options, group, seed, dev, k
        self.catalogue = Catalogue(model, items, sales, group.device)
        self.share, is_known = self.catalogue.facts.share, self.catalogue.facts.is_known
        self.has_examples = None if has_examples is None else has_examples.to(group.device)
        # Negatives are drawn among these: an item first sold after the cutoff would tell that it will be.
        self.known_items = torch.cat([is_known.new_zeros(1).long(), is_known.nonzero().flatten()])
        self.num_known = len(self.known_items) - 1
        self.place_of = is_known.long().cumsum(0) * is_known  # of an item among them, from 1; 0 for others

    def loss(self, batch: RetrieverBatch, step: int) -> Tensor:
        """A rank's part of a global step, such that the mean over ranks is the mean over all targets.

        Shared candidates are those of all ranks.
        """
        batch = batch.to(self.group.device)
        return self._per_example(batch, step) if self.options.form == "per_example" else self._shared(batch, step)

    def evaluate(self) -> dict[str, float]:
        """Of `dev_recall`; empty without a dev slice."""
        if self.dev is None:
            return {}
        return dev_recall(self.dev(), self.catalogue, self.has_examples, self.group, self.options.dev_protocol, self.k)

    def _shared(self, batch: RetrieverBatch, step: int) -> Tensor:
        options = self.options
        in_batch = self.group.gather_rows(batch.positives[self._is_target(batch)])
        drawn_by = negatives.generator(self.seed, step, _UNIFORM)
        places = negatives.uniform_items(options.num_negatives, self.num_known, drawn_by)
        candidates_N = torch.unique(torch.cat([in_batch, self.known_items[places.to(in_batch.device)]]))
        cosines = self._cosines(batch, candidates_N)
        log_q = torch.zeros(len(candidates_N), device=cosines.device)
        if options.log_q:
            share = self.share[candidates_N]
            log_q = negatives.log_inclusion(share, len(in_batch), options.num_negatives, self.num_known)
        place = torch.searchsorted(candidates_N, batch.positives).clamp_max(len(candidates_N) - 1)
        bought = self.group.gather_rows(torch.cat([batch.user_idx[:, None], batch.positives], dim=1))
        masked = negatives.masked_candidates(candidates_N, batch.user_idx, *bought.tensor_split([1], dim=1))
        logits = self.model.logits(cosines, self.catalogue.log_sales(batch.period, candidates_N))
        weights = self._weights(batch)
        return self._over_all_ranks(losses.shared_softmax(logits, place, weights, log_q, masked), weights)

    def _per_example(self, batch: RetrieverBatch, step: int) -> Tensor:
        places = (self.place_of[batch.history], self.place_of[batch.positives])
        draws = self._own_draws(batch, step)
        own_BK = self.known_items[negatives.own_negatives(*places, draws, self.num_known)]
        offered = torch.cat([batch.positives, own_BK], dim=1)
        logits = self.model.logits(self._cosines(batch, offered), self.catalogue.log_sales(batch.period, offered))
        target, negative = logits.tensor_split([batch.positives.shape[1]], dim=1)
        weights = self._weights(batch)
        loss = losses.info_nce(target, negative.masked_fill(own_BK == PAD_IDX, -torch.inf), weights)
        return self._over_all_ranks(loss, weights)

    def _cosines(self, batch: RetrieverBatch, offered: Tensor) -> Tensor:
        """Of each query with the items that it is offered, (B, N). offered: (N,) sorted for all, or (B, N) its own."""
        users, items_M, vectors = self._encode(batch, offered.flatten())
        if not self.catalogue.has_snapshots:
            return _products(users, vectors[torch.searchsorted(items_M, offered)])
        # Each query meets the items as they stood in the snapshot that it may know.
        periods, group_B = torch.unique(batch.period, return_inverse=True)
        found = users.new_zeros(len(users), offered.shape[-1])
        for number, period in enumerate(periods.tolist()):
            rows = (group_B == number).nonzero().flatten()
            items, place = torch.unique(offered if offered.ndim == 1 else offered[rows], return_inverse=True)
            own = self.catalogue.ranked(items, period)[place].to(users.dtype)
            cosines = _products(users[rows], own)
            found = found.index_copy(0, rows, cosines.to(found.dtype))  # autocast computes in another type
        return found

    def _encode(self, batch: RetrieverBatch, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """User vectors, and the distinct items of histories and `others` with their vectors: one pass for both."""
        is_unused = self.model.towers.shape.user_tower == "id"
        history = torch.zeros_like(batch.history) if is_unused else batch.history
        items_M = torch.unique(torch.cat([others, history.flatten()]))
        vectors = self.catalogue.looked_up(items_M)
        pooled = PooledHistory.of(history, batch.history_days, items_M)
        users = self.model.towers.users(batch.user_idx, pooled, vectors, batch.context)
        return users, items_M, vectors

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
        return batch.is_target(only_new=self.options.targets == "new")

    def _weights(self, batch: RetrieverBatch) -> Tensor:
        """Of each target, (B, P); 0 for what is none."""
        is_target = self._is_target(batch).float()
        return is_target / is_target.sum(dim=1, keepdim=True).clamp_min(1) ** self.options.basket_exponent


def _products(users_BD: Tensor, vectors: Tensor) -> Tensor:
    """Of users with the vectors of all, (N, D), or with their own, (B, N, D)."""
    return users_BD @ vectors.T if vectors.ndim == 2 else torch.einsum("bd,bnd->bn", users_BD, vectors)
