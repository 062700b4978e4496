import numpy as np
import pytest

from recsys_spark.evaluation.bootstrap import CELLS_DDL, poisson_weights, read_sums, resampled_sums
from recsys_spark.evaluation.intervals import percentile_interval

MANY = np.arange(1, 20_001)


def test_weights_are_poisson_with_mean_one():
    weights = poisson_weights(MANY, replicates=100, seed=1)
    expected = [0.36788, 0.36788, 0.18394, 0.06131, 0.01533]
    assert weights.shape == (20_000, 100)
    assert weights.mean() == pytest.approx(1, abs=0.003)  # standard error of 2,000,000 draws: 0.0007
    assert [(weights == count).mean() for count in range(5)] == pytest.approx(expected, abs=0.002)


def test_customers_replicates_and_seeds_are_independent():
    weights = poisson_weights(MANY, replicates=100, seed=1).astype(float)
    other = poisson_weights(MANY, replicates=100, seed=2).astype(float)
    correlations = np.corrcoef(weights, rowvar=False)[np.triu_indices(100, 1)]
    assert abs(correlations).max() < 5 / np.sqrt(len(MANY))
    assert abs(np.corrcoef(weights[:-1, 0], weights[1:, 0])[0, 1]) < 4 / np.sqrt(len(MANY))
    assert abs(np.corrcoef(weights.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(weights.size)


def test_a_customers_weights_do_not_depend_on_who_else_is_there():
    alone = poisson_weights(np.array([77]), replicates=10, seed=3)
    assert (poisson_weights(MANY, replicates=10, seed=3)[76] == alone).all()


def test_sums_are_those_of_a_slow_loop_for_any_partitioning(spark):
    rows = [(user, cell, [float(user), 1.0][:width]) for user in range(1, 41) for cell, width in (("a", 2), ("b", 1))]
    weights = poisson_weights(np.arange(1, 41), replicates=5, seed=9)
    expected = [[sum(w * user for user, w in enumerate(column, 1)), sum(column)] for column in weights.T.tolist()]
    for partitions in (1, 7):
        frame = spark.createDataFrame(rows, CELLS_DDL).repartition(partitions)
        found = {row["cell"]: read_sums(row["sums"], 5) for row in resampled_sums(frame, 5, seed=9).collect()}
        assert found["a"].tolist() == [[820.0, 40.0], *expected]
        assert found["b"][:, 0].tolist() == found["a"][:, 0].tolist()


def test_rows_of_one_customer_and_cell_add_up(spark):
    whole, parts = [(1, "a", [5.0]), (2, "a", [1.0])], [(1, "a", [2.0]), (2, "a", [1.0]), (1, "a", [3.0])]
    first, second = (resampled_sums(spark.createDataFrame(rows, CELLS_DDL), 5, seed=9) for rows in (whole, parts))
    assert read_sums(second.first()["sums"], 5).tolist() == read_sums(first.first()["sums"], 5).tolist()


def test_no_rows_have_no_sums(spark):
    assert resampled_sums(spark.createDataFrame([], CELLS_DDL), 5, seed=9).collect() == []


def test_the_poisson_form_agrees_with_plain_resampling_of_customers():
    """A ratio of sums over 400 customers: both intervals within a tenth of their width."""
    chance = np.random.default_rng(4)
    baskets = chance.integers(1, 6, 400)
    hit = chance.binomial(baskets, 0.2)
    weights = poisson_weights(np.arange(400), replicates=4_000, seed=1).T
    drawn = chance.multinomial(400, np.full(400, 1 / 400), size=4_000)
    poisson, plain = (percentile_interval((w @ hit) / (w @ baskets)) for w in (weights.astype(float), drawn))
    width = plain[1] - plain[0]
    assert poisson == pytest.approx(plain, abs=width / 10)


@pytest.mark.slow
def test_intervals_cover_the_truth_in_93_to_97_percent_of_worlds():
    """1,000 worlds of 300 customers with a recall of their own each, so hits of a customer hang together."""
    covered = 0
    for world in range(1_000):
        chance = np.random.default_rng(world)
        positives = chance.integers(1, 9, 300)
        hit = chance.binomial(positives, chance.beta(2, 6, 300))  # the truth is 2 / (2 + 6)
        weights = poisson_weights(np.arange(300), replicates=1_000, seed=world + 1).T.astype(float)
        low, high = percentile_interval((weights @ hit) / (weights @ positives))
        covered += low <= 0.25 <= high
    assert 930 <= covered <= 970
