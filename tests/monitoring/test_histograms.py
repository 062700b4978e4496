from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.monitoring.histograms import fine_histograms, keys_of, value_of

floats = st.floats(width=32, allow_nan=False)


@given(floats, floats)
def test_keys_ascend_as_values_do(first, second):
    low, high = sorted((first, second))
    keys = keys_of(np.array([low, high], np.float32))
    assert keys[0] <= keys[1]


def test_whole_numbers_up_to_256_have_a_key_each_of_which_they_are_the_value_nearest_to_zero():
    numbers = np.arange(-256, 257, dtype=np.float32)
    keys = keys_of(numbers).tolist()
    assert len(set(keys)) == 513
    assert [value_of(key) for key in keys] == numbers.tolist()


def test_both_zeros_have_one_key():
    assert len(set(keys_of(np.array([0.0, -0.0], np.float32)))) == 1


def test_counts_are_those_of_the_values_however_the_rows_lie(spark):
    chance = np.random.default_rng(3)
    values = chance.normal(size=500).astype(np.float32).astype(float).tolist()
    rows = [(value, float(place % 7)) for place, value in enumerate(values)] + [(None, 3.0), (float("nan"), -1.0)]
    frame = spark.createDataFrame(rows, "a double, b double")
    expected = Counter(keys_of(np.array(values, np.float32)).tolist())
    for partitions in (1, 5):
        found = fine_histograms(frame.repartition(partitions), {"a": None, "b": -1.0})
        assert dict(zip(found["a"].keys.tolist(), found["a"].counts.tolist(), strict=True)) == expected
        assert (found["a"].missing, found["a"].total) == (2, 502)
        assert (found["b"].missing, found["b"].total) == (1, 502)
        assert len(found["b"].keys) == 7


def test_no_rows_make_empty_histograms(spark):
    found = fine_histograms(spark.createDataFrame([], "a double"), {"a": None})
    assert (len(found["a"].keys), found["a"].total) == (0, 0)
