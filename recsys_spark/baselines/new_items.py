"""Items that nobody had bought up to the cutoff, by what they have in common with what a customer buys.

Names: Q queries, F hashed features, N new items.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_spark.arrays import Floats, Ints
from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import best_of_product, fitted_to, nothing_own, profiles
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.contracts.columns import PAD_IDX
from recsys_spark.contracts.model_config import NEW_ITEMS

_PER_THOUSAND = 1000.0  # six decimals of a cosine would tie what differs


@dataclass(frozen=True)
class NewItemNeighbours:
    """score(item) = vector of the item . mean vector of what the customer bought, times a thousand.

    An item's vector has a place for each hashed feature, weighed by log(1 + items / items with the feature) over the
    items sold up to the cutoff, and unit length: so an item is near those of its category, brand, price band and words.
    A purchase counts 2 ** (-days / half_life_days), with the days before the customer's last purchase, so the last one
    counts 1 however long ago it was; `prior` purchases as everybody's of late stand beside the customer's own. It ranks
    new items alone; they may be ranked by no other model.
    """

    fitted: FittedPopularity
    content: FittedTable
    half_life_days: float
    prior: float
    name: str = NEW_ITEMS

    def popular(self) -> Popular:
        """The new items, by what everybody buys of late."""
        vectors = load_vectors(self.fitted, self.content)
        scores = _PER_THOUSAND * (vectors.everybody @ vectors.new.T)
        return vectors.in_order(scores)

    def score(self, batch: QueryBatch) -> Scored:
        vectors = load_vectors(self.fitted, self.content)
        bought = fitted_to(profiles(batch, self.half_life_days), vectors.all.shape[0])
        weights = np.asarray(bought.sum(axis=1)).ravel()
        scale = sparse.diags(1 / np.maximum(weights + self.prior, 1e-12), format="csr")
        everybody = sparse.csr_matrix(np.ones((len(batch), 1))) @ sparse.csr_matrix(self.prior * vectors.everybody)
        own = sparse.csr_matrix(scale @ (bought @ vectors.all + everybody))
        right = sparse.csr_matrix(vectors.new.T * _PER_THOUSAND)
        found = best_of_product(batch, own, right, nothing_own(len(batch)), np.ones(right.shape[1]))
        return Scored(found.rows, vectors.items[found.items], found.scores)


@dataclass(frozen=True)
class ContentVectors:
    """all: of every item by item_idx, (num_items + 1, F); items: the new ones, ascending, and new: their rows, (N, F).

    everybody: the mean of what was bought of late, (1, F).
    """

    all: sparse.csr_matrix
    items: Ints
    new: sparse.csr_matrix
    everybody: sparse.csr_matrix

    def in_order(self, scores: sparse.csr_matrix) -> Popular:
        dense: Floats = np.asarray(scores.todense()).ravel()
        order = np.lexsort((self.items, -np.round(dense, 6)))
        return Popular(self.items[order], dense[order])


@functools.lru_cache(maxsize=2)
def load_vectors(fitted: FittedPopularity, content: FittedTable) -> ContentVectors:
    """Once per Python process."""
    columns = read_columns(content.path)
    items = numbers(columns, "item_idx")
    features = columns.column("features").combine_chunks()
    owner = np.repeat(items, np.diff(features.offsets.to_numpy()))
    flat = features.flatten().to_numpy()
    held = flat != PAD_IDX
    known, _, recent = fitted.counts()
    shape = (int(max(items.max(initial=0), known.max(initial=0))) + 1, int(flat.max(initial=0)) + 1)
    ones = sparse.csr_matrix((np.ones(int(held.sum())), (owner[held], flat[held])), shape=shape)
    with_feature = np.asarray(ones[known].sum(axis=0)).ravel()
    weighed = ones @ sparse.diags(np.log1p(len(known) / np.maximum(with_feature, 1)), format="csr")
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    vectors = sparse.csr_matrix(sparse.diags(1 / np.maximum(lengths, 1e-12), format="csr") @ weighed)
    vectors.sort_indices()
    new = np.setdiff1d(items, known)
    share = sparse.csr_matrix(recent / max(recent.sum(), 1))
    return ContentVectors(vectors, new, sparse.csr_matrix(vectors[new]), sparse.csr_matrix(share @ vectors[known]))
