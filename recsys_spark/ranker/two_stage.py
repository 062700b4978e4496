"""The two stages as one model: candidates of all sources, their features, and a ranker's scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import Floats
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.candidates.fitted_sources import fitted_retriever
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.candidates.retrieve import Retriever
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.artifacts import ITEM_POPULARITY, RANKER_BEST
from recsys_spark.contracts.candidate_config import CandidatesConfig, FeaturesConfig, is_proposed
from recsys_spark.contracts.ranker_config import TWO_STAGE
from recsys_spark.features.build import FeatureBuilder
from recsys_spark.features.fitted_builder import fitted_builder
from recsys_spark.stage import StageIO

_QUERIES_AT_A_TIME = 512  # bounds the memory of their candidates' features


@dataclass(frozen=True)
class TwoStageModel:
    """A `Model` with scores of its own under first_purchase: the ranker's second head."""

    popularity: FittedPopularity
    retriever: Retriever
    builder: FeatureBuilder
    ranker: FittedFile
    name: str = TWO_STAGE

    def popular(self) -> Popular:
        return self.popularity.order(by_recent=True)

    def score(self, batch: QueryBatch) -> Scored:
        firsts = range(0, max(len(batch), 1), _QUERIES_AT_A_TIME)
        found = [self._score(batch.part(slice(first, first + _QUERIES_AT_A_TIME))) for first in firsts]
        rows = np.concatenate([candidates.rows + first for first, (candidates, _) in zip(firsts, found, strict=True)])
        ranks = np.concatenate([candidates.ranks for candidates, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        return Scored(
            rows=rows,
            items=np.concatenate([candidates.items for candidates, _ in found]),
            scores=scores[:, 0],
            first=scores[:, 1],
            source_ranks=self.ranks_of_proposers(ranks),
        )

    def ranks_of_proposers(self, ranks: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[np.int32]]:
        """Ranks of candidates, (C, S), by source, 0 where it did not propose the item."""
        by_source = zip(self.retriever.sources, ranks.T, strict=True)
        return {source.name: np.where(is_proposed(own, source.quota), own, 0) for source, own in by_source}

    def _score(self, batch: QueryBatch) -> tuple[CandidateRows, Floats]:
        """The candidates and their scores by head, (C, 2)."""
        from recsys_spark.ranker.score import load_ranker  # torch, which those who build a model do not need

        ranker, candidates = load_ranker(self.ranker.path, self.ranker.content), self.retriever.propose(batch)
        columns = self.builder.columns(batch, candidates)
        return candidates, ranker.scores(np.stack([columns[name] for name in ranker.features], axis=1), candidates.rows)


@dataclass(frozen=True)
class TwoStageSettings:
    """The config of both stages. towers: names of those that are trained; hist_max: queries.hist_max."""

    models: ModelSettings
    candidates: CandidatesConfig
    features: FeaturesConfig
    towers: tuple[str, ...]
    hist_max: int


def fitted_two_stage(io: StageIO, settings: TwoStageSettings, fit: str) -> TwoStageModel:
    """The two stages of a fit as published artifacts leave them."""
    candidates, towers = settings.candidates, settings.towers
    return TwoStageModel(
        popularity=FittedPopularity(*io.path_and_content(ITEM_POPULARITY, fit=fit)),
        retriever=fitted_retriever(io, settings.models, candidates, towers, fit),
        builder=fitted_builder(io, settings.features, candidates.quotas, towers, settings.hist_max, fit),
        ranker=FittedFile(*io.path_and_content(RANKER_BEST, fit=fit)),
    )
