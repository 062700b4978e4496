"""The retriever's loss of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import Tensor

from recsys_spark.contracts.columns import ALL_ITEMS, PAD_IDX
from training import losses, negatives
from training.batches import RetrieverBatch
from training.gather import rows_of
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
        log_q = torch.zeros(len(candidates_N), device=in_batch.device)
        if options.log_q:
            share = self.share[candidates_N]
            log_q = negatives.log_inclusion(share, len(in_batch), options.num_negatives, self.num_known)
        place = torch.searchsorted(candidates_N, batch.positives).clamp_max(len(candidates_N) - 1)
        bought = self.group.gather_rows(torch.cat([batch.user_idx[:, None], batch.positives], dim=1))
        masked = negatives.masked_candidates(candidates_N, batch.user_idx, *bought.tensor_split([1], dim=1))
        periods_S, snapshot_B = torch.unique(batch.period, return_inverse=True)
        trend_SN = self.catalogue.log_sales(periods_S[:, None], candidates_N)
        users, vectors, place_N = self._encode(batch, candidates_N)
        weights, loss = self._weights(batch), torch.zeros((), device=users.device)
        for rows, offered in self._offered(candidates_N, vectors, place_N, periods_S, snapshot_B):
            queries, items = self.model.factors(users[rows], offered, trend_SN, snapshot_B[rows])
            loss = loss + losses.shared_softmax(queries, items, place[rows], weights[rows], log_q, masked[rows])
        return self._over_all_ranks(loss, weights)

    def _offered(
        self, candidates_N: Tensor, vectors_MD: Tensor, place_N: Tensor, periods_S: Tensor, snapshot_B: Tensor
    ) -> Iterator[tuple[slice | Tensor, Tensor]]:
        """Rows of the batch with the vectors of the candidates that they meet, (N, D).

        vectors_MD, place_N: of `_encode`. snapshot_B: each query's place in periods_S.
        """
        if not self.catalogue.has_snapshots:
            yield slice(None), rows_of(vectors_MD, place_N)
            return
        for rows, period in _by_snapshot(periods_S, snapshot_B):
            yield rows, self.catalogue.ranked(candidates_N, period)

    def _per_example(self, batch: RetrieverBatch, step: int) -> Tensor:
        places = (self.place_of[batch.history], self.place_of[batch.positives])
        draws = self._own_draws(batch, step)
        own_BK = self.known_items[negatives.own_negatives(*places, draws, self.num_known)]
        offered = torch.cat([batch.positives, own_BK], dim=1)
        trend = self.catalogue.log_sales(batch.period[:, None], offered)
        logits = self.model.logits(self._cosines(batch, offered), trend)
        target, negative = logits.tensor_split([batch.positives.shape[1]], dim=1)
        weights = self._weights(batch)
        loss = losses.info_nce(target, negative.masked_fill(own_BK == PAD_IDX, -torch.inf), weights)
        return self._over_all_ranks(loss, weights)

    def _cosines(self, batch: RetrieverBatch, offered_BN: Tensor) -> Tensor:
        """Of each query with the items that it alone is offered, (B, N)."""
        users, vectors, place_BN = self._encode(batch, offered_BN)
        if not self.catalogue.has_snapshots:
            return _products(users, rows_of(vectors, place_BN))
        found = users.new_zeros(offered_BN.shape)
        for rows, period in _by_snapshot(*torch.unique(batch.period, return_inverse=True)):
            items, place = torch.unique(offered_BN[rows], return_inverse=True)
            cosines = _products(users[rows], rows_of(self.catalogue.ranked(items, period), place).to(users.dtype))
            found = found.index_copy(0, rows, cosines.to(found.dtype))  # autocast computes in another type
        return found

    def _encode(self, batch: RetrieverBatch, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of the queries, (B, D), and of the distinct items of histories and others as histories look them up,
        (M, D), in one pass; and where among these the others are.
        """
        is_unused = self.model.towers.shape.user_tower == "id"
        history = torch.zeros_like(batch.history) if is_unused else batch.history
        pooled, place = PooledHistory.of(history, batch.history_days).among(others)
        assert pooled.items_M is not None
        vectors = self.catalogue.looked_up(pooled.items_M)
        return self.model.towers.users(batch.user_idx, pooled, vectors, batch.context), vectors, place

    def _own_draws(self, batch: RetrieverBatch, step: int) -> Tensor:
        """Draws for the rows that this rank has of the global batch, (B, K). Every rank has as many rows."""
        drawn_by = negatives.generator(self.seed, step, _OWN)
        shape = self.group.world_size, len(batch), self.options.num_negatives
        return torch.rand(shape, dtype=torch.float64, generator=drawn_by)[self.group.rank].to(self.group.device)

    def _over_all_ranks(self, loss: Tensor, weights: Tensor) -> Tensor:
        """A sum over this rank's weights, scaled so that the mean over ranks is the mean over the weights of all."""
        return loss * self.group.world_size / self.group.sum(weights.sum()).clamp_min(1e-9)

    def _is_target(self, batch: RetrieverBatch) -> Tensor:
        return batch.is_target(only_new=self.options.targets == "new")

    def _weights(self, batch: RetrieverBatch) -> Tensor:
        """Of each target, (B, P); 0 for what is none."""
        is_target = self._is_target(batch).float()
        return is_target / is_target.sum(dim=1, keepdim=True).clamp_min(1) ** self.options.basket_exponent


def _by_snapshot(periods_S: Tensor, snapshot_B: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Rows of queries with their period: each meets the items as they stood in the snapshot that it may know."""
    for number, period in enumerate(periods_S.tolist()):
        yield (snapshot_B == number).nonzero().flatten(), period


def _products(users_BD: Tensor, vectors_BND: Tensor) -> Tensor:
    """Of users with their own vectors, (B, N)."""
    return torch.einsum("bd,bnd->bn", users_BD, vectors_BND)
