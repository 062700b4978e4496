"""The user tower in NumPy: answers worked by hand, and those of the PyTorch model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.query_context import query_context
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.candidates.towers import UserTower, load_tower
from recsys_spark.contracts.context import CONTEXT_SIZES
from recsys_spark.sequences.windows import MICROS_PER_DAY, window_values
from tests.candidates.tower_folders import histories, random_histories, random_vectors, unit, write_tower

NUM_USERS, NUM_ITEMS, DIM, HIST_MAX = 12, 30, 8, 5
AXES = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32)  # items 1, 2, 3 are the axes


def load(folder: Path) -> UserTower:
    tower, items = (FittedFile(str(folder / name), str(folder)) for name in ("user_tower.npz", "item_embeddings.npy"))
    return load_tower(tower, items)


def test_the_mean_takes_the_newest_events_and_counts_repeats(tmp_path):
    tower = load(write_tower(tmp_path, AXES, np.zeros(4), hist_max=3))
    # Items 3, 1, 1, 2 in time order: the newest three are twice item 1 and once item 2.
    found = tower.vectors(histories([(1, 3), (2, 1), (3, 1), (4, 2)]))
    np.testing.assert_allclose(found, [unit(np.array([2.0, 1.0, 0.0]))])


def test_recency_fades_by_days_before_the_query(tmp_path):
    tower = load(write_tower(tmp_path, AXES, np.zeros(4), pooling="recency", decay_days=10.0))
    found = tower.vectors(histories([(90, 1), (100, 2)], day=110))
    np.testing.assert_allclose(found, [unit(np.array([np.exp(-2), np.exp(-1), 0.0]))], atol=1e-7)


def test_a_query_without_a_known_item_has_no_vector_whatever_the_blocks_make_of_it(tmp_path):
    rng = np.random.default_rng(0)
    items = AXES.copy()
    items[3] = 0  # never seen by the fit
    block = {
        "block0.linear.weight": rng.normal(size=(3, 3)),
        "block0.linear.bias": rng.normal(size=3),
        "block0.norm.weight": np.ones(3),
        "block0.norm.bias": np.ones(3),
        "norm.weight": np.ones(3),
        "norm.bias": np.ones(3),
    }
    tower = load(write_tower(tmp_path, items, np.zeros(4), **block))
    found = tower.vectors(histories([], [(1, 3)], [(1, 3), (2, 77)], [(1, 3), (2, 1)]))
    assert found.any(axis=1).tolist() == [False, False, False, True]


def test_a_table_of_its_own_knows_the_items_that_the_fit_knows(tmp_path):
    items = AXES.copy()
    items[3] = 0
    own = np.arange(12, dtype=np.float32).reshape(4, 3)
    tower = load(write_tower(tmp_path, items, np.zeros(4), history_emb=own))
    found = tower.vectors(histories([(1, 1), (2, 2), (3, 3)], [(1, 3)]))
    np.testing.assert_allclose(found, [unit(own[1] + own[2]), np.zeros(3)], atol=1e-7)


def test_an_id_tower_knows_customers_and_not_their_histories(tmp_path):
    users = random_vectors(4, 3)
    tower = load(write_tower(tmp_path, AXES, np.zeros(4), user_tower="id", user_emb=users * 2))
    found = tower.vectors(histories([(1, 1)], [], [(2, 2)], [(1, 1)], users=[2, 4, 0, 9]))
    np.testing.assert_allclose(found, [users[2], users[4], np.zeros(3), np.zeros(3)], atol=1e-6)


def with_places(batch: QueryBatch) -> QueryBatch:
    """The same with a showroom and a channel for most events."""
    rng, size = np.random.default_rng(3), len(batch.events.items)
    names = np.array([0, 5_000_000_001, -77, 12])
    events = replace(batch.events, showrooms=names[rng.integers(0, 4, size)], channels=names[rng.integers(0, 2, size)])
    return replace(batch, events=events)


def test_a_value_of_the_context_adds_its_vector_and_an_unknown_history_stays_unknown(tmp_path):
    weekdays = np.zeros((8, 3), dtype=np.float32)
    weekdays[6, 2] = 1.0  # day 0 is a Thursday, from 1 for Sunday the fifth; day 1 a Friday
    tower = load(write_tower(tmp_path, AXES, np.zeros(4), **{"context.weekday": weekdays}))
    early, late = (tower.vectors(histories([(0, 1)], [], day=day)) for day in (1, 2))
    np.testing.assert_allclose(early, [unit(np.array([1.0, 0.0, 1.0])), np.zeros(3)])
    np.testing.assert_allclose(late, [[1.0, 0.0, 0.0], np.zeros(3)])


def test_a_customer_who_was_dormant_for_long_is_told_by_what_he_bought_last(tmp_path):
    tower = load(write_tower(tmp_path, AXES, np.zeros(4), pooling="recency", decay_days=10.0))
    found = tower.vectors(histories([(90, 1), (100, 2)], [], day=1100))
    np.testing.assert_allclose(found, [unit(np.array([np.exp(-1), 1.0, 0.0])), np.zeros(3)], atol=1e-7)


@pytest.mark.torch
@pytest.mark.parametrize("num_blocks", [0, 2])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "recency", "attention"])
@pytest.mark.parametrize(
    ("user_tower", "context"),
    [
        ("id", ()),
        ("history", ()),
        ("both", ()),
        ("history", tuple(CONTEXT_SIZES)),
        ("both", ("sales_channel", "month")),
    ],
)
def test_vectors_are_those_of_the_model_that_was_trained(tmp_path, user_tower, context, pooling, tied, num_blocks):
    torch = pytest.importorskip("torch")
    from training.retriever import export
    from training.retriever.model import PooledHistory, RetrieverModel, TowerShape, TwoTower

    torch.manual_seed(0)
    options = {"decay_days": 20.0, "num_blocks": num_blocks, "hist_max": HIST_MAX, "context": context}
    towers = TwoTower(TowerShape(NUM_USERS, NUM_ITEMS, DIM, user_tower, pooling, tied, **options)).eval()
    with torch.no_grad():
        for name, value in towers.named_parameters():
            if "norm" in name or "bias" in name or name == "attention":  # these start as ones and zeros
                value.normal_()
            if name == "context.table.weight":  # all of it starts as zeros; what is none stays so
                value[1:].normal_()
        everything = torch.arange(NUM_ITEMS + 1)
        items = towers.items(everything)
        items[0] = 0
        batch = with_places(random_histories(NUM_USERS, NUM_ITEMS, most_events=2 * HIST_MAX))
        dormant = 100 * 20 * MICROS_PER_DAY * (np.arange(NUM_USERS) % 2)  # 100 decays, every other customer
        batch = replace(batch, micros=batch.micros + dormant)
        history, days, _ = window_values(batch.events, batch.start, batch.end, batch.micros, HIST_MAX)
        pooled = PooledHistory.of(torch.from_numpy(history), torch.from_numpy(days))
        told = torch.from_numpy(query_context(batch)).long()
        expected = towers.users(torch.from_numpy(batch.users), pooled, items, told)
    told = export.user_tower(RetrieverModel(towers, 0.1, False, False))
    found = load(write_tower(tmp_path, items.numpy(), np.zeros(NUM_ITEMS + 1), **told)).vectors(batch)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
