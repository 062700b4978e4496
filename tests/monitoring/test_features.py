import numpy as np
import pandas as pd
import pytest

from recsys_spark.contracts.candidate_schemas import RANKER_FEATS
from recsys_spark.contracts.features import FEATURES
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.monitoring.features import moved_features
from recsys_spark.monitoring.measures import DRIFTED, INFO, NOT_MEASURED

CONFIG = MonitorConfig()
PER_QUERY = 4


def table(num_queries=600, seed=1, **changed):
    """Candidates with normal features. changed: a feature's new values, made from the old ones."""
    chance = np.random.default_rng(seed)
    size = num_queries * PER_QUERY
    columns = {
        "query_id": np.repeat(np.arange(num_queries), PER_QUERY),
        "user_idx": np.ones(size, int),
        "item_idx": np.arange(size),
        "label": np.zeros(size, np.float32),
        "is_repeat": np.zeros(size, bool),
    }
    for feature in FEATURES:
        values = chance.normal(5, 1, size)
        columns[feature.name] = changed.get(feature.name, lambda same: same)(values).astype(np.float32)
    return pd.DataFrame(columns)[RANKER_FEATS.names]


@pytest.fixture(scope="module")
def frame_of(spark, tmp_path_factory):
    def frame(side):
        path = tmp_path_factory.mktemp("shards") / "part.parquet"
        side.to_parquet(path, index=False)
        return spark.read.schema(RANKER_FEATS.ddl).parquet(f"file:{path}")

    return frame


@pytest.fixture(scope="module")
def alarms(frame_of):
    def found(first, second, partitions=2):
        sides = (frame_of(side).repartition(partitions) for side in (first, second))
        return {measure.name for measure in moved_features(*sides, CONFIG) if measure.verdict == DRIFTED}

    return found


def test_a_reshuffled_copy_and_another_sample_raise_no_alarm(alarms):
    reference = table()
    assert alarms(reference, reference.sample(frac=1, random_state=5), partitions=7) == set()
    assert alarms(reference, table(seed=2)) == set()
    assert alarms(reference, table(num_queries=40, seed=3)) == set()


def test_a_shifted_feature_is_found_and_no_other(alarms):
    assert alarms(table(), table(seed=2, price_z=lambda values: values + 1)) == {"psi.price_z"}


def test_a_feature_that_is_gone_is_missing_and_unstable_and_no_other_is(alarms):
    gone = table(seed=2, mean_gap=lambda values: np.full_like(values, 1000.0))
    assert alarms(table(), gone) == {"psi.mean_gap", "missing.mean_gap"}


@pytest.mark.parametrize("name", ["month_sin", "quarter_cos"])
def test_what_follows_the_calendar_is_told_and_raises_no_alarm(frame_of, name):
    first, second = table(), table(**{name: lambda values: values + 9})
    sides = frame_of(first), frame_of(second)
    (measure,) = [measure for measure in moved_features(*sides, CONFIG) if measure.name == f"psi.{name}"]
    assert measure.verdict == INFO
    assert measure.value > 1


def test_a_run_without_test_queries_is_not_measured(frame_of):
    some = frame_of(table())
    for sides in ((some, some.limit(0)), (some.limit(0), some)):
        assert [measure.verdict for measure in moved_features(*sides, CONFIG)] == [NOT_MEASURED]
