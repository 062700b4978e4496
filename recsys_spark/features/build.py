"""All features of a batch of candidates, by name. The job and the ranked lists of the two-stage model share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.features import FEATURES, chosen_features
from recsys_spark.features.customer_features import customer_features, days_of
from recsys_spark.features.item_features import item_features, load_daily_sales, load_item_facts
from recsys_spark.features.pair_features import affinity_features, repeat_features, source_features
from recsys_spark.features.place_features import place_features
from recsys_spark.features.rhythm_features import rhythm_features


@dataclass(frozen=True)
class FeatureBuilder:
    """Everything the features of one fit are computed from, as it travels to the tasks.

    vectors: item vectors of a tower, None where none was trained. sources: names of the columns of `CandidateRows`.
    which: `full`, `extended` or `base`; hist_max, recent_items, similar_items: as in the config.
    """

    facts: FittedTable
    daily_sales: FittedTable
    item_places: FittedTable
    customer_places: FittedTable
    vectors: FittedFile | None
    sources: tuple[str, ...]
    which: str
    hist_max: int
    recent_items: int
    similar_items: int

    def columns(self, batch: QueryBatch, candidates: CandidateRows) -> dict[str, npt.NDArray[np.float32]]:
        """Every feature of contracts/features.py by name, (C,) each; one that is not chosen has its missing value.

        purchases: those of the batch, where they are at hand.
        """
        found = self._found(batch, candidates)
        chosen = {feature.name for feature in chosen_features(self.which, self.sources)}
        size = len(candidates.rows)
        return {
            feature.name: _limited(found[feature.name].astype(np.float32), feature.largest)
            if feature.name in chosen and feature.name in found
            else np.full(size, feature.missing, dtype=np.float32)
            for feature in FEATURES
        }

    def _found(self, batch: QueryBatch, candidates: CandidateRows) -> dict[str, np.ndarray]:
        facts = load_item_facts(self.facts)
        of_query = customer_features(batch, self.hist_max)
        found = {name: values[candidates.rows] for name, values in of_query.items()}
        sales = load_daily_sales(self.daily_sales)
        found |= item_features(facts, sales, candidates.items, days_of(batch)[candidates.rows])
        if self.vectors is not None:
            from recsys_spark.features.similarity import similarity_features  # torch, which other features do without

            options = (self.hist_max, self.recent_items, self.similar_items)
            found |= similarity_features(batch, candidates, self.vectors.array(), *options)
        if self.which != "base":
            found |= repeat_features(batch, candidates)
            found |= rhythm_features(batch, candidates, facts, found["days_since_last"])
            found |= affinity_features(batch, candidates, facts)
            users = batch.users[candidates.rows]
            found |= place_features(self.item_places, self.customer_places, users, candidates.items)
            found |= source_features(candidates, self.sources)
        return found


def _limited(values: npt.NDArray[np.float32], largest: float) -> npt.NDArray[np.float32]:
    return np.minimum(values, np.float32(largest)) if np.isfinite(largest) else values
