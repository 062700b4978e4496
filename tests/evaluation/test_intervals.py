import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.evaluation.intervals import holm, paired_differences, percentile_interval, sign_p_value

ESTIMATES = {"best": 0.5, "near": 0.49, "far": 0.1}


def _replicates():
    shared = np.linspace(-0.2, 0.2, 999)  # what differs between replicates and not between models
    noise = np.linspace(-0.03, 0.05, 999)[::-1]
    return {"best": 0.5 + shared, "near": 0.49 + shared + noise, "far": 0.1 + shared}


def test_pairing_removes_what_the_models_share():
    differences = paired_differences(ESTIMATES, _replicates(), "best")
    assert differences["far"].interval == pytest.approx((-0.4, -0.4))
    assert differences["far"].p_value == pytest.approx(2 / 1000)


def test_holm_multiplies_by_the_number_of_models_still_open():
    differences = paired_differences(ESTIMATES, _replicates(), "best")
    assert differences["far"].p_holm == pytest.approx(2 * differences["far"].p_value)
    assert differences["near"].p_holm == differences["near"].p_value  # the last one left
    assert differences["near"].interval_holm == differences["near"].interval


def test_corrected_intervals_are_never_narrower():
    for difference in paired_differences(ESTIMATES, _replicates(), "best").values():
        assert difference.interval_holm[0] <= difference.interval[0]
        assert difference.interval_holm[1] >= difference.interval[1]


def test_one_model_has_nothing_to_be_compared_with():
    assert paired_differences({"best": 0.5}, {"best": np.ones(9)}, "best") == {}


def test_replicates_without_anything_to_average_are_left_out():
    assert percentile_interval(np.array([np.nan, 2.0, 2.0])) == (2.0, 2.0)
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


def test_equal_models_have_a_p_value_of_one():
    assert sign_p_value(np.zeros(1_000)) == 1


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_corrected_p_values_are_no_smaller_and_keep_the_order(p_values):
    corrected = holm(p_values)
    ordered = sorted(p_values, key=lambda name: p_values[name])
    assert all(corrected[name] >= p_values[name] for name in p_values)
    assert [corrected[name] for name in ordered] == sorted(corrected.values())
