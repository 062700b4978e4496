import numpy as np
import pytest

from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.monitoring.calibration import ScoreCounts, calibration, score_counts
from recsys_spark.monitoring.histograms import keys_of
from recsys_spark.monitoring.measures import DRIFTED, NOT_MEASURED, OK

CONFIG = MonitorConfig()
SCORED = "query_id bigint, scores array<double>, is_bought array<boolean>"


def world(num_queries=400, seed=1, times=1.0, plus=0.0):
    """Queries of 30 candidates of which each is bought with the softmax of its score, three times over at most.

    The scores that are returned are the true ones times `times` plus `plus`, which differs by query.
    """
    chance = np.random.default_rng(seed)
    scored = []
    for query in range(1, num_queries + 1):
        scores = chance.normal(scale=2, size=30)
        weights = np.exp(scores)
        is_bought = chance.random(30) < np.minimum(1, 3 * weights / weights.sum())
        scored.append((query, (scores * times + plus * query).tolist(), is_bought.tolist()))
    return scored


@pytest.fixture(scope="module")
def counted(spark):
    def counts(partitions=2, **given):
        return score_counts(spark.createDataFrame(world(**given), SCORED).repartition(partitions))

    return counts


def test_counts_by_hand(spark):
    scored = [(1, [0.0, 0.0], [True, False]), (2, [5.0, 5.0], [False, True]), (3, [1.0], [True])]
    found = score_counts(spark.createDataFrame(scored, SCORED))
    half, whole = keys_of(np.array([np.log(0.5), 0.0], np.float32))
    assert found.keys.tolist() == [half, whole]
    assert found.candidates.tolist() == [4, 1]
    assert found.bought.tolist() == [2, 1]


def test_a_reshuffled_copy_changes_nothing_and_another_sample_raises_no_alarm(counted):
    reference = counted()
    itself = calibration(reference, reference, CONFIG)
    assert itself == calibration(reference, counted(partitions=5), CONFIG)
    assert itself.value < 0.05  # of purchases that stand at the border of two bins
    assert calibration(reference, counted(seed=2), CONFIG).verdict == OK


def test_what_is_added_to_all_scores_of_a_query_changes_nothing(counted):
    reference = counted()
    assert calibration(reference, counted(plus=0.5), CONFIG) == calibration(reference, reference, CONFIG)


def test_scores_that_became_too_sure_are_found(counted):
    assert calibration(counted(), counted(seed=2, times=3), CONFIG).verdict == DRIFTED


def test_the_error_by_hand():
    """Four bins of the reference say 0.1 and 0.5; of the others 0.3 and 0.4 were bought."""
    reference = ScoreCounts(np.array([1, 2]), np.array([1000, 1000]), np.array([100, 500]))
    other = ScoreCounts(np.array([1, 2]), np.array([1000, 1000]), np.array([300, 400]))
    measure = calibration(reference, other, CONFIG)
    assert measure.value == pytest.approx((200 + 100) / 700, abs=1e-6)
    assert measure.detail["predicted"] == [0.1, 0.5]
    assert measure.detail["bought"] == [0.3, 0.4]


def test_without_a_purchase_nothing_is_measured():
    nothing = ScoreCounts(np.array([1]), np.array([10]), np.array([0]))
    assert calibration(nothing, nothing, CONFIG).verdict == NOT_MEASURED
