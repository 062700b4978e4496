import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.monitoring.alignment import moments, rotation
from recsys_spark.monitoring.embeddings import moved_vectors
from recsys_spark.monitoring.measures import DRIFTED, NOT_MEASURED
from recsys_spark.monitoring.neighbours import neighbour_overlap

NUM_ITEMS, NUM_USERS, DIM = 240, 90, 8
CONFIG = MonitorConfig(neighbours=5, neighbour_items=1000)
TURN = ortho_group.rvs(DIM, random_state=3)
ORDER = np.random.default_rng(9).permutation(NUM_ITEMS)  # item i of the first run is item ORDER[i] of the second


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def vectors(number, seed):
    """Unit vectors in twelve clusters, with a mean that is not 0."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(12, DIM)) + 0.4
    return unit(centres[np.arange(number) % 12] + chance.normal(scale=0.3, size=(number, DIM)))


ITEMS, USERS = vectors(NUM_ITEMS, 1), vectors(NUM_USERS, 2)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    def written(array):
        path = tmp_path_factory.mktemp("vectors") / "vectors.npy"
        np.save(path, np.vstack([np.zeros(array.shape[1]), array]).astype(np.float32))
        return FittedFile(str(path), "")

    return written


@pytest.fixture(scope="module")
def pairs(spark):
    items = [(f"P{place:03}", place + 1, int(ORDER[place]) + 1) for place in range(NUM_ITEMS)]
    users = [(f"C{place}", place + 1, place + 1) for place in range(NUM_USERS)]
    return (
        spark.createDataFrame(items, "stock_code string, first bigint, second bigint"),
        spark.createDataFrame(users, "customer_id string, first bigint, second bigint"),
    )


@pytest.fixture(scope="module")
def alarms(write, pairs):
    def found(items, users, partitions=2):
        second = np.empty_like(items)
        second[ORDER] = items
        item_files, user_files = (write(ITEMS), write(second)), (write(USERS), write(users))
        spread = (side.repartition(partitions) for side in pairs)
        measures = moved_vectors("all", *spread, item_files, user_files, CONFIG)
        assert len(measures) == 6
        return {measure.name.removeprefix("all.") for measure in measures if measure.verdict == DRIFTED}

    return found


def test_equal_vectors_under_other_indices_raise_no_alarm(alarms):
    assert alarms(ITEMS, USERS, partitions=5) == set()


def test_a_rotation_of_both_sides_raises_no_alarm(alarms):
    assert alarms(ITEMS @ TURN, USERS @ TURN) == set()


def test_a_rotation_of_the_users_alone_is_found(alarms):
    found = alarms(ITEMS, USERS @ TURN)
    assert found
    assert all(name.startswith("user_") for name in found)


def test_shifted_item_vectors_are_found_by_their_mean(alarms):
    assert alarms(ITEMS + np.linspace(-0.3, 0.4, DIM), USERS) == {"item_mean_shift"}


def test_stretched_item_vectors_are_found_by_their_covariance(alarms):
    centre = ITEMS.mean(axis=0)
    assert alarms(centre + (ITEMS - centre) * 1.6, USERS) == {"item_covariance_shift"}


def test_items_whose_vectors_were_exchanged_are_found_by_their_neighbours(alarms):
    scrambled = ITEMS.copy()
    first = np.arange(0, 100)
    scrambled[first] = ITEMS[(first * 7 + 5) % 100]
    assert alarms(scrambled, USERS) == {"lost_neighbours"}


def test_the_rotation_is_that_of_scipy(write, pairs):
    chance = np.random.default_rng(5)
    second = np.empty_like(ITEMS)
    second[ORDER] = ITEMS @ TURN + chance.normal(scale=0.05, size=ITEMS.shape)
    found = rotation(moments(pairs[0], (write(ITEMS), write(second)), DIM))
    moved = second[ORDER].astype(np.float32)
    centred = (side - side.mean(axis=0) for side in (ITEMS.astype(np.float32), moved))
    assert found == pytest.approx(orthogonal_procrustes(*centred)[0], abs=1e-4)


def test_where_vectors_have_no_extent_the_means_settle_the_rotation(spark, write):
    """Fewer products than numbers in a vector, and a number that all share."""
    few = np.hstack([ITEMS[:4], np.full((4, 1), 0.8)])
    turn = ortho_group.rvs(DIM + 1, random_state=4)
    pairs = spark.createDataFrame([(place, place) for place in range(1, 5)], "first bigint, second bigint")
    found = moments(pairs, (write(few), write(few @ turn)), DIM + 1)
    assert found.means[0] @ rotation(found) == pytest.approx(found.means[1], abs=1e-4)


def test_products_without_a_vector_take_no_part(spark, write):
    array = ITEMS.copy()
    array[10] = 0
    rows = [(place, place) for place in range(1, NUM_ITEMS + 3)]  # two of them behind the array
    pairs = spark.createDataFrame(rows, "first bigint, second bigint")
    assert moments(pairs, (write(ITEMS), write(array)), DIM).count == NUM_ITEMS - 1


def test_neighbours_are_those_of_all_cosines(write, pairs):
    chance = np.random.default_rng(6)
    moved = unit(ITEMS + chance.normal(scale=0.2, size=ITEMS.shape))
    second = np.empty_like(moved)
    second[ORDER] = moved
    kept = []
    nearest = []
    for side in (ITEMS.astype(np.float32), moved.astype(np.float32)):
        cosines = unit(side) @ unit(side).T
        np.fill_diagonal(cosines, -2)
        nearest.append(np.argsort(-cosines, axis=1)[:, :5])
    for one, other in zip(*nearest, strict=True):
        kept.append(len(set(one) & set(other)))
    for partitions in (1, 4):
        found = neighbour_overlap(pairs[0].repartition(partitions), (write(ITEMS), write(second)), 5, 1000)
        assert found["overlap"] == pytest.approx(np.mean(kept) / 5)
        assert found["lost"] == pytest.approx(np.mean(np.array(kept) == 0))


def test_towers_of_other_lengths_and_too_few_products_are_not_measured(write, pairs):
    files = (write(ITEMS), write(np.hstack([ITEMS, ITEMS])))
    (measure,) = moved_vectors("all", *pairs, files, (write(USERS), write(USERS)), CONFIG)
    assert measure.verdict == NOT_MEASURED
    same = (write(ITEMS), write(ITEMS))
    measures = moved_vectors("all", pairs[0].limit(4), pairs[1], same, (write(USERS), write(USERS)), CONFIG)
    assert [measure.verdict for measure in measures if "neighbour" in measure.name] == [NOT_MEASURED]
