"""Neighbours equal those of a slow dense computation, whatever the blocks, tiles, kernels and partitions."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.baselines import column_similarity, sparse_blocks, thresholds
from recsys_spark.baselines.column_similarity import SimilarityRule, column_groups
from recsys_spark.baselines.cost import cap_rows, cost_of_counts, estimate_cost
from recsys_spark.baselines.neighbour_tasks import NUM_PLACES, MultiplyPlan, groups_at
from recsys_spark.baselines.neighbours import NEIGHBOURS_DDL, NeighbourOptions, blocks_of, find_neighbours
from recsys_spark.baselines.sparse_blocks import load_block, pack_block
from recsys_spark.baselines.thresholds import nth_largest_of_columns, nth_largest_of_rows
from recsys_spark.baselines.user_knn import fit_user_neighbours
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.contracts.model_config import KnnConfig
from recsys_spark.contracts.model_schemas import KNN_SOURCE
from tests.support.frames import frame, rows

Found = list[tuple[int, int, float, int]]
TRIPLES = "row bigint, col bigint, weight double"


def slow_neighbours(matrix: npt.NDArray[np.float64], k: int, shrinkage: float = 0.0, min_support: int = 1) -> Found:
    """Column, neighbour, score, rank from a dense matrix whose columns are numbered from 1."""
    lengths = np.sqrt((matrix**2).sum(axis=0))
    found = []
    for i in range(matrix.shape[1]):
        pairs = []
        for j in range(matrix.shape[1]):
            shared = int(((matrix[:, i] > 0) & (matrix[:, j] > 0)).sum())
            if i == j or shared < max(min_support, 1):
                continue
            score = round(float(matrix[:, i] @ matrix[:, j]) / (lengths[i] * lengths[j] + shrinkage), 6)
            if score > 0:
                pairs.append((-score, j + 1))
        found += [(i + 1, j, -score, rank) for rank, (score, j) in enumerate(sorted(pairs)[:k], start=1)]
    return found


def fast_neighbours(matrix: npt.NDArray[np.float64], folder: Path, rule: SimilarityRule, num_blocks: int = 1) -> Found:
    """The same from packed blocks, without Spark."""
    users, items = np.nonzero(matrix)
    for b in range(num_blocks):
        mine = items % num_blocks == b
        entries = (users[mine] + 1, items[mine] + 1, matrix[users[mine], items[mine]])
        pack_block(*entries, str(folder), b, alone=num_blocks == 1)
    blocks = [load_block(str(folder), b, len(matrix) + 1) for b in range(num_blocks) if (items % num_blocks == b).any()]
    found: Found = []
    for own in blocks:
        for group in column_groups(own, rule):
            for block in blocks:
                group.visit(block)
            found += zip(*(values.tolist() for values in group.neighbours()), strict=True)
    return sorted(((c, n, round(s, 6), r) for c, n, s, r in found), key=lambda row: (row[0], row[3]))


def random_matrix(seed: int, users: int, items: int, density: float, whole: bool = True) -> npt.NDArray[np.float64]:
    """Some columns are far fuller than others."""
    rng = np.random.default_rng(seed)
    share = density * 3 * rng.random(items) ** 2
    weights = rng.integers(1, 3, (users, items)) if whole else rng.random((users, items)) + 0.01
    return np.where(rng.random((users, items)) < share, weights, 0.0).astype(np.float64)


def triples_of(spark: SparkSession, matrix: npt.NDArray[np.float64]) -> DataFrame:
    users, items = np.nonzero(matrix)
    values = zip((users + 1).tolist(), (items + 1).tolist(), matrix[users, items].tolist(), strict=True)
    return spark.createDataFrame(list(values), TRIPLES)


def found_by_spark(triples: DataFrame, folder: Path, **options: float) -> Found:
    found = rows(find_neighbours(triples, NeighbourOptions(**options), str(folder)))
    return sorted(((c, n, round(s, 6), r) for c, n, s, r in found), key=lambda row: (row[0], row[3]))


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small matrices into many tiles, slices and groups."""
    monkeypatch.setattr(sparse_blocks, "FIRST_TILE", 5)
    monkeypatch.setattr(sparse_blocks, "TILE_GROWTH", 2)
    monkeypatch.setattr(sparse_blocks, "SLICE", 4)
    monkeypatch.setattr(column_similarity, "_DENSE_GROUP", 7)
    monkeypatch.setattr(thresholds, "_SLICES", 4)
    monkeypatch.setattr(column_similarity, "_SPARSE_ENTRIES", 30)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("kernel", ["sparse", "dense", "cheaper"])
@pytest.mark.parametrize("whole", [True, False])
def test_blocks_give_what_a_dense_computation_gives(
    kernel: str, whole: bool, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel != "cheaper":
        monkeypatch.setattr(column_similarity, "_NS_SPARSE", 1e9 if kernel == "dense" else 1e-9)

    @settings(max_examples=25, deadline=None)
    @given(
        seed=st.integers(0, 10**6),
        shape=st.tuples(st.integers(1, 30), st.integers(1, 60)),
        density=st.floats(0.02, 0.6),
        k=st.integers(1, 20),
        shrinkage=st.sampled_from([0.0, 0.7, 30.0]),
        min_support=st.integers(1, 3),
        num_blocks=st.integers(1, 3),
    )
    def check(
        seed: int,
        shape: tuple[int, int],
        density: float,
        k: int,
        shrinkage: float,
        min_support: int,
        num_blocks: int,
    ) -> None:
        matrix = random_matrix(seed, *shape, density, whole)
        rule = SimilarityRule(k, shrinkage, min_support, matrix.max() if whole else None)
        found = fast_neighbours(matrix, tmp_path_factory.mktemp("blocks"), rule, num_blocks)
        assert found == slow_neighbours(matrix, k, shrinkage, min_support)

    check()


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("num_blocks", [1, 3])
@pytest.mark.parametrize("held_bytes", [1, 10**6])
def test_wherever_the_places_are_cut_each_column_has_one_task(num_blocks: int, held_bytes: int, tmp_path: Path) -> None:
    matrix = random_matrix(11, 30, 90, 0.3)
    users, items = np.nonzero(matrix)
    for b in range(num_blocks):
        mine = items % num_blocks == b
        pack_block(users[mine] + 1, items[mine] + 1, matrix[users, items][mine], f"{tmp_path}/blocks", b)
    rule = SimilarityRule(5, 0.0, 1, matrix.max())
    plan = MultiplyPlan(
        str(tmp_path), f"{tmp_path}/blocks", tuple(range(num_blocks)), len(matrix) + 1, held_bytes, rule
    )
    for cuts in ([], [1], [NUM_PLACES // 2], [1000, 1365, 1366, 2730, 2731, 4000]):
        groups = [group for part in pairwise([0, *cuts, NUM_PLACES]) for group in groups_at(plan, *part)]
        found = [row for group in groups for row in zip(*(v.tolist() for v in group.neighbours()), strict=True)]
        assert sorted((c, n, round(s, 6), r) for c, n, s, r in found) == sorted(slow_neighbours(matrix, k=5))


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_first_thresholds_are_reached_by_enough_values(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((rng.integers(1, 40), 3)).astype(np.float32)
    reached = nth_largest_of_columns(values, n)
    assert all((values[:, c] >= reached[c]).sum() >= n or reached[c] == 0 for c in range(3))
    lengths = rng.integers(0, 30, 6)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    flat = rng.random(indptr[-1]).astype(np.float32)
    for r, least in enumerate(nth_largest_of_rows(flat, indptr, n)):
        assert (flat[indptr[r] : indptr[r + 1]] >= least).sum() >= n or least == 0


def test_spark_finds_hand_worked_neighbours(spark: SparkSession, tmp_path: Path) -> None:
    # Columns 1 and 2 share both their rows, 3 shares one of its two rows with each, 4 stands alone.
    matrix = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    assert found_by_spark(triples_of(spark, matrix), tmp_path) == [
        (1, 2, 1.0, 1),
        (1, 3, 0.5, 2),
        (2, 1, 1.0, 1),
        (2, 3, 0.5, 2),
        (3, 1, 0.5, 1),  # a tie goes to the smaller index
        (3, 2, 0.5, 2),
    ]


def test_shrinkage_and_support_weaken_pairs_that_share_few_rows(spark: SparkSession, tmp_path: Path) -> None:
    matrix = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]], dtype=float)
    triples = triples_of(spark, matrix)
    shrunk = found_by_spark(triples, tmp_path / "a", shrinkage=2.0, num_neighbours=1)
    assert shrunk == [(1, 2, 0.5, 1), (2, 1, 0.5, 1), (3, 1, 0.25, 1)]  # 2 / (2 + 2) and 1 / (2 + 2)
    assert found_by_spark(triples, tmp_path / "b", min_support=2) == [(1, 2, 1.0, 1), (2, 1, 1.0, 1)]


def test_neighbours_do_not_depend_on_partitions_or_blocks(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = random_matrix(3, 40, 150, 0.2, whole=False)
    triples = triples_of(spark, matrix)
    expected = slow_neighbours(matrix, k=10)
    for blocks in ("one", "several"):
        for partitions in (1, 7, 64):
            shuffled, folder = triples.repartition(partitions, "weight"), tmp_path / f"{blocks}{partitions}"
            assert found_by_spark(shuffled, folder, num_neighbours=10) == expected
            assert [path.name for path in folder.iterdir()] == ["neighbours.parquet"]
        for limit in ("block_nonzeros", "paired_nonzeros"):
            monkeypatch.setattr(NeighbourOptions, limit, len(np.nonzero(matrix)[0]) // 3)


def test_a_folder_used_again_gives_the_neighbours_of_the_new_entries(spark: SparkSession, tmp_path: Path) -> None:
    for seed in (3, 4):  # of one size: only the content tells the blocks apart
        matrix = random_matrix(seed, 40, 50, 0.2)
        matrix[-1, 0] = 1.0
        triples = triples_of(spark, matrix)
        assert found_by_spark(triples, tmp_path / "same", num_neighbours=3) == slow_neighbours(matrix, k=3)
        shutil.rmtree(tmp_path / "same")


@given(st.dictionaries(st.integers(0, 50), st.integers(1, 40), min_size=1), st.integers(1, 60))
def test_blocks_hold_at_most_the_limit_or_one_large_bucket(sizes: dict[int, int], limit: int) -> None:
    blocks = blocks_of(sizes, limit)
    assert set(blocks) == set(sizes)
    for block in set(blocks.values()):
        mine = [sizes[bucket] for bucket in sizes if blocks[bucket] == block]
        assert sum(mine) <= max(limit, max(sizes.values()))


def test_user_neighbours_are_those_of_the_transposed_matrix(spark: SparkSession, tmp_path: Path) -> None:
    matrix = random_matrix(5, 30, 12, 0.4)
    turned = triples_of(spark, matrix).selectExpr("col AS row", "row AS col", "weight")
    assert found_by_spark(turned, tmp_path, num_neighbours=4) == slow_neighbours(matrix.T, k=4)


@pytest.mark.parametrize("values", [[], [(1, 1, 1.0), (2, 1, 1.0)]], ids=["no entry", "one column"])
def test_without_a_pair_there_are_no_neighbours(spark: SparkSession, tmp_path: Path, values: list[tuple]) -> None:
    found = find_neighbours(spark.createDataFrame(values, TRIPLES), NeighbourOptions(), str(tmp_path))
    assert found.schema == spark.createDataFrame([], NEIGHBOURS_DDL).schema
    assert found.count() == 0


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(1, 1, -1.0)], "weight must be finite"),
        ([(1, 1, float("nan"))], "weight must be finite"),
        ([(1, 2**31, 1.0)], "col must lie in"),
        ([(1, 1, 1.0), (1, 1, 2.0)], "more than once"),
    ],
)
def test_entries_that_cannot_be_used_are_named(entries: list[tuple], message: str, tmp_path: Path) -> None:
    users, items, weights = (np.array(values) for values in zip(*entries, strict=True))
    with pytest.raises(DataError, match=message):
        pack_block(users, items, weights, str(tmp_path), 0)


def test_costly_products_are_refused_with_a_cap_that_fits(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = np.zeros((3, 50))
    matrix[0, :], matrix[1, :3], matrix[2, :3] = 1, 1, 1
    triples = triples_of(spark, matrix)
    with pytest.raises(ConfigError, match=r"2\.52e\+03 multiply-adds.*most recent 19 entries"):
        found_by_spark(triples, tmp_path / "one", max_cost=400)
    monkeypatch.setattr(NeighbourOptions, "block_nonzeros", 10)
    with pytest.raises(ConfigError, match="most recent 19 entries"):
        found_by_spark(triples, tmp_path / "several", max_cost=400)
    assert 19**2 + 9 + 9 <= 400


def test_costly_neighbours_of_customers_are_refused_with_advice_that_helps(spark: SparkSession, tmp_path: Path) -> None:
    bought = [{"user_idx": user, "item_idx": 1, "num_events": 1} for user in range(1, 4)]
    with pytest.raises(ConfigError, match=r"; take user_knn out of .* or raise knn\.max_cost") as error:
        fit_user_neighbours(frame(spark, KNN_SOURCE, bought), KnnConfig(max_cost=8.0), str(tmp_path))
    assert "knn.max_items_per_customer" not in str(error.value)


def test_the_estimated_cost_is_the_sum_of_squared_row_lengths(spark: SparkSession) -> None:
    matrix = random_matrix(7, 60, 80, 0.3)
    lengths = (matrix > 0).sum(axis=1)
    estimated = estimate_cost(triples_of(spark, matrix))
    assert estimated == cost_of_counts(lengths)
    assert estimated.multiply_adds == (lengths**2).sum()
    assert estimated.nonzeros == lengths.sum()


def test_heavy_rows_keep_their_most_recent_columns(spark: SparkSession) -> None:
    events = [(1, 10, 5), (1, 11, 7), (1, 12, 5), (1, 13, 1), (2, 10, 1)]
    interactions = spark.createDataFrame(events, "user_idx bigint, item_idx bigint, event_time bigint")
    for partitions in (1, 7):
        kept, share_cut = cap_rows(interactions.repartition(partitions), max_items=2)
        assert rows(kept) == [(1, 10, 5), (1, 11, 7), (2, 10, 1)]  # of the two at time 5, the smaller index
        assert share_cut == 2 / 5
    assert cap_rows(interactions.limit(0), max_items=2)[1] == 0.0
    with pytest.raises(ConfigError, match="at least 1"):
        cap_rows(interactions, max_items=0)


@pytest.mark.parametrize(
    ("key", "value"), [("num_neighbours", 0), ("min_support", 0), ("shrinkage", -1.0), ("task_memory_mb", 0)]
)
def test_options_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"knn.{key}"):
        NeighbourOptions(**{key: value})
