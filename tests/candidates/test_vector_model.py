"""The lists of a two-tower model against a ranking of the whole catalogue in NumPy."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("faiss")

from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import SCORE_DECIMALS, rank_batch
from recsys_spark.candidates.towers import load_tower
from recsys_spark.candidates.vector_model import SPARE, TwoTowerModel
from recsys_spark.sequences.windows import MICROS_PER_DAY
from tests.candidates.tower_folders import histories, index_tower, random_histories, random_vectors, unit, write_tower

NUM_ITEMS, DIM, K = 120, 8, 5
ELIGIBLE = [item for item in range(1, NUM_ITEMS + 1) if item % 7]
DECAY_DAYS, HIST_MAX = 15.0, 40


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """A model by one of its ways, over item vectors and offsets that are not alike."""

    def made(by: str, **config: Any) -> TwoTowerModel:
        items = random_vectors(NUM_ITEMS, DIM)
        offsets = np.random.default_rng(8).normal(size=NUM_ITEMS + 1, scale=0.3)
        write_tower(tmp_path, items, offsets, pooling="recency", decay_days=DECAY_DAYS, hist_max=HIST_MAX)
        counts = {"item_idx": ELIGIBLE, "num_events": ELIGIBLE, "num_recent_events": ELIGIBLE}
        pq.write_table(pa.table(counts), tmp_path / "popularity.parquet")
        popularity = FittedPopularity(str(tmp_path / "popularity.parquet"), str(tmp_path))
        return TwoTowerModel("two_tower", popularity, index_tower(tmp_path, ELIGIBLE, **config), by)

    return made


def exact_scores(model: TwoTowerModel, batch: QueryBatch) -> np.ndarray:
    """Scores of the eligible items, query by query and event by event, (queries, eligible)."""
    items = model.files.item_embeddings.array().astype(np.float64)
    offsets = model.files.item_offsets.array()
    scores = []
    for row in range(len(batch)):
        days = (batch.micros[row] - batch.events.micros[batch.start[row] : batch.end[row]]) / MICROS_PER_DAY
        weights = np.exp(-days / DECAY_DAYS) if model.by == "tower" else np.ones(len(days))
        newest = list(zip(weights, batch.seen(row), strict=True))[-HIST_MAX:]
        query = unit(sum(weight * items[item] for weight, item in newest))
        scores.append(items[ELIGIBLE] @ query + (offsets[ELIGIBLE] if model.by == "tower" else 0))
    return np.array(scores)


@pytest.mark.parametrize("by", ["tower", "history"])
def test_lists_are_those_of_the_whole_catalogue_in_order(make, by):
    model, batch = make(by), random_histories(25, NUM_ITEMS, most_events=60)
    scores = np.round(exact_scores(model, batch), SCORE_DECIMALS)
    expected: dict[str, list[list[int]]] = {"all_items": [], "first_purchase": [], "masked_seen": []}
    for row in range(len(batch)):
        order = [item for _, item in sorted(zip(-scores[row], ELIGIBLE, strict=True))]
        unseen = [item for item in order if item not in batch.seen(row)]
        expected["all_items"].append(order[:K])
        expected["first_purchase"].append(unseen[:K])
        expected["masked_seen"].append(order[: order.index(unseen[K - 1]) + 1])
    found = {
        lists.protocol: [items.tolist() for items in np.split(lists.items, lists.offsets[1:-1])]
        for lists in rank_batch(pickle.loads(pickle.dumps(model)), batch, K)
    }
    assert found == expected


def test_a_query_gets_the_same_list_alone_and_among_others(make):
    model, batch = make("tower"), random_histories(25, NUM_ITEMS, most_events=60)
    whole = model.score(replace(batch, depth=K))
    for row in range(len(batch)):
        alone = model.score(replace(batch, depth=K).part(slice(row, row + 1)))
        mine = whole.rows == row
        assert alone.items.tolist() == whole.items[mine].tolist()
        assert alone.scores.tolist() == whole.scores[mine].tolist()


@pytest.mark.parametrize("by", ["tower", "history"])
def test_a_cold_query_has_no_scores_and_the_popular_items(make, by):
    model, batch = make(by), histories([], [(3, 1), (4, 2), (5, 1)], [(3, 999)])
    found = model.score(replace(batch, depth=K))
    assert np.bincount(found.rows, minlength=3).tolist() == [0, K + 2 + SPARE, 0]
    lists = next(rank_batch(model, batch, K))
    assert np.split(lists.items, lists.offsets[1:-1])[0].tolist() == [120, 118, 117, 116, 115]  # 119 is 17 x 7
    assert lists.num_scored.tolist() == [0, K, 0]


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_scores_are_exact_whatever_precision_the_search_has(make, kind):
    model, batch = make("tower", kind=kind), random_histories(25, NUM_ITEMS, most_events=60)
    found = model.score(replace(batch, depth=K))
    expected = exact_scores(model, batch)[found.rows, np.searchsorted(ELIGIBLE, found.items)]
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    again = load_tower(model.files.user_tower, model.files.item_embeddings).vectors(batch)[found.rows]
    items, offsets = model.files.item_embeddings.array(), model.files.item_offsets.array()
    np.testing.assert_allclose(
        found.scores, (again * items[found.items]).sum(axis=1) + offsets[found.items], atol=1e-12
    )


def test_distinct_items_before_a_query_are_counted_once():
    assert histories([], [(1, 4), (2, 4), (3, 9)], [(1, 9)]).num_bought.tolist() == [0, 2, 1]
    assert histories([]).num_bought.tolist() == [0]
