"""Each model's score against values worked by hand, or against a slow second method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from scipy.optimize import nnls

from recsys_spark.baselines import profiles as profiles_module
from recsys_spark.baselines.blend import Blend
from recsys_spark.baselines.category_popularity import CategoryPopularity
from recsys_spark.baselines.item_knn import NeighbourModel
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.nmf import Nmf, factorise, fold_in
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import heaviest_of_rows, trend
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import rank_batch
from recsys_spark.baselines.rolling import RollingPopularity
from recsys_spark.baselines.tifu_knn import TifuKnn, frequencies
from recsys_spark.baselines.user_knn import UserKnn
from recsys_spark.contracts.model_config import KnnConfig, NmfConfig, TifuConfig
from recsys_spark.sequences.windows import MICROS_PER_DAY, Events
from tests.support.models import GivenScores

History = list[tuple[int, int]]  # (day, item), in time order


def batch_of(*histories: History, day: int = 10, users: tuple[int, ...] = ()) -> QueryBatch:
    """One query per customer on `day`; customers are numbered from 1 unless told otherwise."""
    events = [event for history in histories for event in sorted(history)]
    offsets = np.cumsum([0, *(len(history) for history in histories)])
    items = np.array([item for _, item in events], dtype=np.int64)
    micros = np.array([when * MICROS_PER_DAY for when, _ in events], dtype=np.int64)
    numbers = np.arange(len(histories))
    now = np.full(len(histories), day * MICROS_PER_DAY)
    who = np.array(users or numbers + 1)
    return QueryBatch(numbers, now, numbers, offsets[:-1], offsets[1:], Events(offsets, items, micros), who)


def scores(model: Any, batch: QueryBatch) -> dict[tuple[int, int], float]:
    found = model.score(batch)
    pairs = zip(found.rows.tolist(), found.items.tolist(), found.scores.tolist(), strict=True)
    return {(row, item): score for row, item, score in pairs}


@dataclass
class Tables:
    """Writes fitted tables."""

    folder: Path
    written: int = 0

    def __call__(self, **columns: Any) -> FittedTable:
        self.written += 1
        path = self.folder / f"{self.written}.parquet"
        pq.write_table(pa.table(columns), path)
        return FittedTable(str(path), str(path))

    def popularity(self, counts: dict[int, tuple[int, int]]) -> FittedPopularity:
        """item_idx -> (all events, recent events)."""
        total, recent = zip(*counts.values(), strict=True)
        table = self(item_idx=list(counts), num_events=list(total), num_recent_events=list(recent))
        return FittedPopularity(table.path, table.content)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


FLAT = dict.fromkeys(range(1, 8), (1, 1))


def test_item_knn_adds_up_neighbours_of_the_decayed_profile_and_the_item_itself(tables):
    found = tables(item_idx=[1, 1, 2], neighbour_idx=[2, 3, 3], score=[0.5, 0.2, 0.4])
    model = NeighbourModel("item_knn", tables.popularity(FLAT), found, 2.0, 0.1, 0.0)
    # Item 2 was bought last, item 1 two days (one half-life) earlier: weights 1 and 1/2.
    assert scores(model, batch_of([(6, 1), (8, 2)])) == pytest.approx(
        {(0, 1): 0.1 * 1.5 * 0.5, (0, 2): 0.5 * 0.5 + 0.1 * 1.5, (0, 3): 0.5 * 0.2 + 0.4}
    )


@pytest.mark.parametrize(("exponent", "of_first"), [(0.0, 0.2), (0.5, 0.2 * 1.5**0.5)])
def test_a_profile_exponent_below_one_lets_repeats_speak_less_for_their_neighbours(tables, exponent, of_first):
    found = tables(item_idx=[1, 2], neighbour_idx=[3, 4], score=[0.2, 0.4])
    model = NeighbourModel("item_knn", tables.popularity(FLAT), found, 2.0, 1.0, 0.0, profile_exponent=exponent)
    # Item 1 weighs 1/2 + 1, item 2 weighs 1; what is their own stays as it is.
    assert scores(model, batch_of([(6, 1), (8, 1), (8, 2)])) == pytest.approx(
        {(0, 1): 2.5 * 1.5, (0, 2): 2.5, (0, 3): of_first, (0, 4): 0.4}
    )


def test_trend_multiplies_by_the_recent_share_over_the_long_share(tables):
    popularity = tables.popularity({1: (9, 3), 2: (9, 0)})
    # With one added to each count: recent shares 4/5 and 1/5, long shares 1/2 each.
    assert trend(popularity, 1.0, 3).tolist() == pytest.approx([1, 1.6, 0.4])
    assert trend(popularity, 0.5, 3)[1:].tolist() == pytest.approx([1.6**0.5, 0.4**0.5])
    found = tables(item_idx=[3, 3], neighbour_idx=[1, 2], score=[0.5, 0.5])
    model = NeighbourModel("item_knn", popularity, found, 2.0, 0.0, 1.0)
    assert scores(model, batch_of([(8, 3)])) == pytest.approx({(0, 1): 0.8, (0, 2): 0.2})


def test_ease_weighs_by_target_and_leaves_out_negative_scores(tables):
    found = tables(item_idx=[1, 2], neighbour_idx=[3, 3], score=[0.5, -0.5])
    model = NeighbourModel("ease", tables.popularity(FLAT), found, 2.0, 0.0, 0.0, by_target=True)
    assert scores(model, batch_of([(8, 3)])) == pytest.approx({(0, 1): 0.5})


def days(*numbers: int) -> pa.Array:
    times = [datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(days=number) for number in numbers]
    return pa.array(times, pa.timestamp("us", tz="UTC"))


def test_user_knn_averages_what_neighbours_bought_lately(tables):
    similar = tables(user_idx=[1, 1], neighbour_idx=[2, 3], score=[0.6, 0.2])
    bought = tables(user_idx=[2, 2, 3, 1], item_idx=[4, 5, 5, 6], last_time=days(8, 6, 8, 1))
    config = KnnConfig(half_life_days=2.0, recent_days=3, self_weight=0.5, trend_exponent=0.0)
    model = UserKnn(tables.popularity(FLAT), similar, bought, config)
    # Activity at day 8: (2, 4) 1, (2, 5) 1/2, (3, 5) 1; customer 9 is not known to the fit.
    found = scores(model, batch_of([(8, 6)], [(8, 6)], day=9, users=(1, 9)))
    expected = {(0, 4): 0.75, (0, 5): 0.75 * 0.5 + 0.25, (0, 6): 0.5, (1, 6): 0.5}
    assert found == pytest.approx(expected)


def test_rolling_popularity_counts_the_days_before_the_query_alone(tables):
    counts = tables(item_idx=[1, 2, 1, 3, 9], day=[6, 8, 9, 10, 9], num_events=[5, 2, 1, 7, 4])
    model = RollingPopularity(tables.popularity({1: (5, 5), 2: (5, 5), 3: (5, 5)}), counts, days=2)
    # Day 6 is too early, day 10 is today, item 9 is not eligible.
    assert scores(model, batch_of([(1, 1)], day=10)) == {(0, 2): 2.0, (0, 1): 1.0}
    assert scores(model, batch_of([(1, 1)], day=11)) == {(0, 3): 7.0, (0, 1): 1.0}


def test_category_popularity_shares_out_the_profile_within_its_categories(tables):
    sold = tables(item_idx=[1, 2, 3, 4], category=["A", "A", "B", ""], num_recent_events=[3, 1, 5, 1])
    model = CategoryPopularity(tables.popularity(FLAT), sold, half_life_days=1.0)
    assert scores(model, batch_of([(8, 2), (7, 3)])) == pytest.approx({(0, 1): 0.75, (0, 2): 0.25, (0, 3): 0.5})


def test_blend_adds_up_parts_scaled_to_a_largest_score_of_one(tables):
    popularity = tables.popularity({1: (1, 1), 2: (3, 3), 3: (9, 0)})
    first = GivenScores((), ((0, 1, 4.0), (0, 2, 1.0)))
    second = GivenScores((), ((0, 2, 0.5), (0, 3, -1.0)))
    model = Blend(popularity, ((first, 1.0), (second, 0.5)), popularity_weight=0.1)
    found = scores(model, batch_of([(8, 5)]))
    assert found == pytest.approx({(0, 1): 1 + 0.1 / 3, (0, 2): 0.25 + 0.5 + 0.1})


def slow_frequency(baskets: list[set[int]], config: TifuConfig) -> np.ndarray:
    """The vector of a customer, group by group; baskets newest first."""
    groups = [baskets[at : at + config.group_size] for at in range(0, len(baskets), config.group_size)]
    vector = np.zeros(9)
    for g, group in enumerate(groups):
        mean = np.zeros(9)
        for place, basket in enumerate(group):
            for item in basket:
                mean[item] += config.within_decay**place / len(group)
        vector += config.group_decay**g * mean / len(groups)
    return vector


def random_histories(seed: int, customers: int) -> list[History]:
    rng = np.random.default_rng(seed)
    return [
        sorted(
            {(int(day), int(item)) for day, item in zip(rng.integers(0, 10, 12), rng.integers(1, 9, 12), strict=True)}
        )
        for _ in range(customers)
    ]


def baskets_of(history: History) -> list[set[int]]:
    return [{item for when, item in history if when == day} for day in sorted({when for when, _ in history})[::-1]]


def test_tifu_vectors_are_group_means_of_decayed_baskets():
    config = TifuConfig(group_size=3, within_decay=0.9, group_decay=0.5)
    histories = random_histories(1, 5)
    found = frequencies(batch_of(*histories), config)
    vectors = np.zeros((5, 9))
    vectors[found.rows, found.items] = found.scores
    np.testing.assert_allclose(vectors, [slow_frequency(baskets_of(history), config) for history in histories])


def test_tifu_knn_mixes_in_the_mean_of_the_nearest_other_customers(tables, monkeypatch):
    monkeypatch.setattr(profiles_module, "_PRODUCT_ENTRIES", 20)  # many parts
    config = TifuConfig(group_size=3, num_neighbours=2, alpha=0.6)
    histories = random_histories(2, 6)
    vectors = np.array([slow_frequency(baskets_of(history), config) for history in histories])
    users, items = np.nonzero(vectors)
    fitted = tables(user_idx=users + 1, item_idx=items, weight=vectors[users, items])
    found = scores(TifuKnn(tables.popularity(FLAT), fitted, config), batch_of(*histories))
    for row, own in enumerate(vectors):
        order = sorted((round(float(((own - other) ** 2).sum()), 12), u) for u, other in enumerate(vectors) if u != row)
        expected = 0.6 * own + 0.4 * np.mean([vectors[u] for _, u in order[:2]], axis=0)
        np.testing.assert_allclose([found.get((row, item), 0.0) for item in range(9)], expected, atol=1e-6)


def test_fold_in_solves_nonnegative_least_squares():
    rng = np.random.default_rng(4)
    factors, profile = rng.random((30, 4)), (rng.random((5, 30)) < 0.3).astype(float)
    found = fold_in(profile @ factors, factors.T @ factors, 0.1)
    for row in range(5):
        system = np.vstack([factors, np.sqrt(0.1) * np.eye(4)])
        expected = nnls(system, np.concatenate([profile[row], np.zeros(4)]))[0]
        np.testing.assert_allclose(found[row], expected, atol=1e-4)


def test_nmf_scores_are_the_folded_profile_times_the_factors(tables, monkeypatch):
    monkeypatch.setattr("recsys_spark.baselines.nmf._BLOCK_BYTES", 1)  # query by query
    fitted = tables(item_idx=[1, 2, 3], factors=[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    model = Nmf(tables.popularity(FLAT), fitted, l2=1.0, half_life_days=1.0)
    # Item 1 alone: w = 1 / (2 + l2) on the first factor. Item 3: w = 1 / (1 + l2) on the second.
    found = scores(model, batch_of([(8, 1)], [(7, 3), (8, 3)], [(8, 7)]))
    assert found == pytest.approx({(0, 1): 0.333333, (0, 2): 0.333333, (1, 3): 0.5})


def test_nmf_without_factors_scores_nothing(tables):
    nothing = pa.array([], pa.list_(pa.float64()))
    fitted = tables(item_idx=pa.array([], pa.int64()), factors=nothing)  # no customer had come twice by the cutoff
    assert scores(Nmf(tables.popularity(FLAT), fitted, l2=1.0, half_life_days=1.0), batch_of([(8, 1)], [])) == {}


def test_factors_of_two_separate_groups_are_separate():
    matrix = sparse.csr_matrix(np.kron(np.eye(2), np.ones((4, 3))))
    factors = factorise(matrix, NmfConfig(num_factors=2, l2=0.01), seed=1)
    sides = factors.argmax(axis=1)
    assert sides[:3].tolist() in ([0] * 3, [1] * 3)
    assert sides[3:].tolist() == [1 - sides[0]] * 3
    assert factors.shape == (6, 2)


@dataclass(frozen=True)
class _Uncut:
    """A model that scores all it can."""

    model: NeighbourModel

    def popular(self):
        return self.model.popular()

    def score(self, batch):
        return self.model.score(replace(batch, depth=1_000_000))


@pytest.mark.parametrize("k", [1, 3])
def test_cutting_scores_to_what_lists_can_take_changes_no_list(k, tables, monkeypatch):
    rng = np.random.default_rng(6)
    pairs = [(i, j) for i in range(1, 40) for j in range(1, 40) if i != j and rng.random() < 0.6]
    values = rng.integers(1, 4, len(pairs)) / 4  # many ties
    found = tables(item_idx=[i for i, _ in pairs], neighbour_idx=[j for _, j in pairs], score=values)
    popularity = tables.popularity({item: (item, item) for item in range(1, 40)})
    model = NeighbourModel("item_knn", popularity, found, 9.0, 1.0, 0.0)
    batch = batch_of(*([(int(d), int(i)) for d, i in rng.integers(1, 9, (4, 2))] for _ in range(6)))
    whole = list(rank_batch(_Uncut(model), batch, k))
    monkeypatch.setattr(profiles_module, "_PRODUCT_ENTRIES", 50)
    assert len(model.score(replace(batch, depth=k)).items) < 6 * 39
    for one, other in zip(whole, rank_batch(model, batch, k), strict=True):
        assert (one.items.tolist(), one.offsets.tolist()) == (other.items.tolist(), other.offsets.tolist())


def test_the_heaviest_entries_of_each_row_stay():
    weights = np.array([[1.0, 3.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0, 0.0]])
    found = heaviest_of_rows(sparse.csr_matrix(weights), 2)
    assert found.toarray().tolist() == [[0, 3, 0, 2, 0], [0, 0, 0, 0, 0], [5, 0, 0, 0, 0]]
