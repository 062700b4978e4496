"""One bundle opened: ids, events, proposals and models, which an answer takes from this one object and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from recsys_spark.arrays import Ints, pair_keys
from recsys_spark.baselines.item_knn import NeighbourModel
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Model, Popular, Scored
from recsys_spark.candidates.vector_model import TwoTowerModel
from recsys_spark.contracts.artifacts import ITEM_POPULARITY
from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.contracts.recommend_config import RecommendConfig
from recsys_spark.ranker.two_stage import TwoStageModel
from recsys_spark.recommendations.evidence import EvidenceSource
from recsys_spark.recommendations.fitted_rules import fitted_evidence
from recsys_spark.recommendations.rules import ItemRules
from recsys_spark.serving.bundle import BundleCard, CustomerArrays, Ids
from recsys_spark.serving.items import ItemArrays, mapped_rules
from recsys_spark.serving.plan import Served, models_of
from recsys_spark.serving.queries import of_basket, of_customer
from recsys_spark.stage import StageIO
from recsys_spark.storage import Storage


@dataclass(frozen=True)
class State:
    """models: by protocol. popular: items that may be ranked, the most bought lately first, with shares of sales.
    options: how lists are made; recent_days: what counts as lately.
    """

    card: BundleCard
    customers: Ids
    items: Ids
    arrays: CustomerArrays
    facts: ItemArrays
    rules: ItemRules
    models: Mapping[str, Model]
    evidence: EvidenceSource
    popular: Popular
    options: RecommendConfig
    recent_days: int

    @classmethod
    def open(cls, folder: Path, served: Served, run: str) -> State:
        """run: its name, as another may have had the same content. Raises ArtifactError for a folder without a whole
        bundle.
        """
        card = replace(BundleCard.read(folder), run=run)
        io = StageIO(served.stage, Storage(str(folder / "run")), served.config)
        options = served.config.recommend
        fitted = FittedPopularity(*io.path_and_content(ITEM_POPULARITY, fit=card.fit))
        state = cls(
            card=card,
            customers=Ids(folder / "customers.arrow"),
            items=Ids(folder / "items.arrow"),
            arrays=CustomerArrays.mapped(folder),
            facts=ItemArrays.mapped(folder),
            rules=mapped_rules(folder / "rules"),
            models=models_of(io, served.settings, card.models, card.fit),
            evidence=fitted_evidence(io, served.settings, options.reasons.recent_items, card.fit),
            popular=fitted.order(by_recent=True),
            options=options,
            recent_days=served.config.baselines.recent_days,
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
        """What the model of the protocol says of one query; of a known customer from what the bundle holds for it."""
        model, user = self.models[protocol], int(batch.users[0])
        if not isinstance(model, TwoStageModel) or user > self.card.num_customers:
            return model.score(replace(batch, depth=LIST_LENGTH))
        from recsys_spark.ranker.score import load_ranker  # torch

        arrays = self.arrays
        own = slice(int(arrays.offer_offsets[user]), int(arrays.offer_offsets[user + 1]))
        items, ranks = arrays.offer_items[own], arrays.offer_ranks[own]
        rows = np.zeros(len(items), dtype=np.int64)
        ranker = load_ranker(model.ranker.path, model.ranker.content)
        scores = ranker.scores(arrays.offer_features[own], rows)
        return Scored(rows, items, scores[:, 0], scores[:, 1], model.ranks_of_proposers(ranks))

    def barred(self, batch: QueryBatch) -> Ints:
        """What is not to be recommended to the customer of the one query, as `policy.Asked.excluded`."""
        user = int(batch.users[0])
        if user > self.card.num_customers:
            return np.zeros(0, dtype=np.int64)
        offsets = self.arrays.barred_offsets
        items = self.arrays.barred_items[int(offsets[user]) : int(offsets[user + 1])]
        return np.sort(pair_keys(np.zeros(len(items), dtype=np.int64), items))

    @cached_property
    def is_barred(self) -> np.ndarray:
        """Whether a rule bars each item for everybody at the bundle's moment, by item_idx."""
        items = np.arange(len(self.rules.barred))
        return self.rules.barring(items, np.full(len(items), self.card.moment)) > 0

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
        models = list(self.models.values())
        sources = [source.model for m in models if isinstance(m, TwoStageModel) for source in m.retriever.sources]
        return [*models, *sources]

    def _warm_up(self) -> None:
        """Load what the first answers would wait for."""
        batches = [self.basket(np.array([1]), np.array([1.0]))]
        if self.card.num_customers:
            batches.append(self.customer(1))
        for batch in batches:
            for protocol in self.models:
                self.scored(protocol, batch)
            self.evidence.together(batch, batch.purchases, np.array([0]), np.array([1]))
