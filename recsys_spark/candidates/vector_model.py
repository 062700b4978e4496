"""A two-tower model as a model that ranks: the items whose vectors go best with the query's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_spark.arrays import Floats, Ints
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import num_wanted
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.candidates.tower_files import TowerFiles
from recsys_spark.candidates.towers import load_tower, newest, pooled

_BELOW_ALL = -2.0  # a score no cosine reaches, for the popular items behind the model's own
_PAIRS_AT_A_TIME = 4096  # whose vectors are looked up together
# Items beyond those that are wanted: FAISS's sums depend on what is searched together, and so does who is last.
SPARE = 16


@dataclass(frozen=True)
class TwoTowerModel:
    """score(item) = query . vector of the item + offset of the item, for the best of each query.

    by: `tower` makes the query's vector by the user tower; `history` takes the mean of the history's item vectors,
    whose scores are cosines, without offsets. A query of which nothing is known has no scores.
    """

    name: str
    fitted: FittedPopularity
    files: TowerFiles
    by: str = "tower"

    def popular(self) -> Popular:
        return self.fitted.behind(_BELOW_ALL)

    def score(self, batch: QueryBatch) -> Scored:
        from recsys_spark.candidates.index import load_index  # faiss is an extra, and the baselines run without it

        vectors = self._vectors(batch)
        asked = np.flatnonzero(vectors.any(axis=1))
        wanted = num_wanted(batch) + SPARE
        found = load_index(self.files).search(vectors[asked], wanted[asked], with_offsets=self.by == "tower")
        rows = asked[found.rows]
        return Scored(rows, found.items, self._scores(vectors, rows, found.items))

    def _vectors(self, batch: QueryBatch) -> Floats:
        tower = load_tower(self.files.user_tower, self.files.item_embeddings)
        if self.by == "tower":
            return tower.vectors(batch)
        history = newest(batch, tower.hist_max)
        return pooled(history, self.files.item_embeddings.array(), np.ones(int(history.num_earlier.sum())))

    def _scores(self, vectors: Floats, rows: Ints, items: Ints) -> Floats:
        """Scores of pairs, summed in an order that does not depend on which queries are searched together, as FAISS's
        does; (P,).
        """
        item_vectors, offsets = self.files.item_embeddings.array(), self.files.item_offsets.array()
        scores = np.zeros(len(rows))
        for first in range(0, len(rows), _PAIRS_AT_A_TIME):
            part = slice(first, first + _PAIRS_AT_A_TIME)
            scores[part] = np.einsum("pd,pd->p", vectors[rows[part]], item_vectors[items[part]].astype(np.float64))
        return scores + offsets[items] if self.by == "tower" else scores
