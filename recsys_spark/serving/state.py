"""One bundle opened: ids, events, proposals and models, which an answer takes from this one object and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from recsys_spark.baselines.item_knn import NeighbourModel
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Model, Popular, Scored
from recsys_spark.candidates.vector_model import TwoTowerModel
from recsys_spark.contracts.artifacts import ITEM_POPULARITY
from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.ranker.two_stage import TwoStageModel
from recsys_spark.sequences.windows import Ints
from recsys_spark.serving.bundle import BundleCard, CustomerArrays, Ids
from recsys_spark.serving.plan import Served, models_of
from recsys_spark.serving.queries import of_basket, of_customer
from recsys_spark.serving.text import tidy_code
from recsys_spark.stage import StageIO
from recsys_spark.storage import Storage


@dataclass(frozen=True)
class Limited:
    """A model whose popular items are found already, those that may be recommended; as `Excluding`, once for all."""

    model: Model
    allowed: Popular
    num_excluded: int

    @property
    def name(self) -> str:
        return self.model.name

    def popular(self) -> Popular:
        return self.allowed

    def score(self, batch: QueryBatch) -> Scored:
        return self.model.score(replace(batch, depth=batch.depth + self.num_excluded))


@dataclass(frozen=True)
class State:
    """models: by protocol. popular: items that may be recommended, the most bought lately first, with shares of sales;
    counts, recent_counts: events by item_idx, all and of the last days, 0 for items that may not be ranked.
    """

    card: BundleCard
    customers: Ids
    items: Ids
    arrays: CustomerArrays
    models: Mapping[str, Limited]
    popular: Popular
    counts: Ints
    recent_counts: Ints

    @classmethod
    def open(cls, folder: Path, served: Served, run: str) -> State:
        """run: its name, as another may have had the same content. Raises ArtifactError for a folder without a whole
        bundle.
        """
        card = replace(BundleCard.read(folder), run=run)
        io = StageIO(served.stage, Storage(str(folder / "run")), served.config)
        found = models_of(io, served.settings, card.models, card.fit)
        items = Ids(folder / "items.arrow")
        barred = {items.find(tidy_code(code)) for code in served.config.recommend.excluded_codes} - {None}
        fitted = FittedPopularity(*io.path_and_content(ITEM_POPULARITY, fit=card.fit))
        indices, total, recent = fitted.counts()
        counts, recent_counts = np.zeros((2, card.num_items + 1), dtype=np.int64)
        counts[indices], recent_counts[indices] = total, recent
        state = cls(
            card=card,
            customers=Ids(folder / "customers.arrow"),
            items=items,
            arrays=CustomerArrays.mapped(folder),
            models={
                name: Limited(model, _without(model.popular(), barred), len(barred)) for name, model in found.items()
            },
            popular=_without(fitted.order(by_recent=True), barred),
            counts=counts,
            recent_counts=recent_counts,
        )
        state._warm_up()
        return state

    def customer(self, user: int) -> QueryBatch:
        """The query of a known customer."""
        return of_customer(self.arrays, user, self.card.moment)

    def basket(self, items: Ints, quantities: np.ndarray) -> QueryBatch:
        """The query of someone new with a basket; items in the order of their codes, each once."""
        return of_basket(items, quantities, self.card)

    def scored(self, protocol: str, batch: QueryBatch) -> Scored:
        """What the model of the protocol says of one query; of a known customer from what the bundle holds for him."""
        limited, user = self.models[protocol], int(batch.users[0])
        model = limited.model
        if not isinstance(model, TwoStageModel) or user > self.card.num_customers:
            return limited.score(replace(batch, depth=LIST_LENGTH))
        from recsys_spark.ranker.score import load_ranker  # torch

        arrays = self.arrays
        own = slice(int(arrays.offer_offsets[user]), int(arrays.offer_offsets[user + 1]))
        items, ranks = arrays.offer_items[own], arrays.offer_ranks[own]
        rows = np.zeros(len(items), dtype=np.int64)
        ranker = load_ranker(model.ranker.path, model.ranker.content)
        scores = ranker.scores(arrays.offer_features[own], rows)
        source_ranks = {name: ranks[:, place] for place, name in enumerate(self.card.sources)}
        return Scored(rows, items, scores[:, 0], scores[:, 1], source_ranks)

    @cached_property
    def tower(self) -> TwoTowerModel | None:
        """The first tower among the models and their sources."""
        return next((model for model in self._parts if isinstance(model, TwoTowerModel)), None)

    @cached_property
    def neighbours(self) -> NeighbourModel | None:
        """The first ItemKNN among them."""
        return next((m for m in self._parts if isinstance(m, NeighbourModel) and not m.by_target), None)

    @property
    def _parts(self) -> list[Model]:
        models = [limited.model for limited in self.models.values()]
        sources = [source.model for m in models if isinstance(m, TwoStageModel) for source in m.retriever.sources]
        return [*models, *sources]

    def _warm_up(self) -> None:
        """Load what the first answers would wait for."""
        batches = [self.basket(np.array([1]), np.array([1.0]))]
        if self.card.num_customers:
            batches.append(self.customer(1))
        for protocol in self.models:
            for batch in batches:
                self.scored(protocol, batch)


def _without(order: Popular, barred: set[int | None]) -> Popular:
    keep = ~np.isin(order.items, [item for item in barred if item is not None])
    return Popular(order.items[keep], order.scores[keep])
