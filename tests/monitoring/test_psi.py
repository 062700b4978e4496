import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.monitoring.psi import (
    FLOOR,
    Histogram,
    count_shares,
    null_bound,
    psi,
    quantile_edges,
    shares,
)

counts = st.lists(st.integers(0, 50), min_size=2, max_size=12).filter(any)


def histogram(values, missing=0):
    keys, counts = np.unique(values, return_counts=True)
    return Histogram(keys, counts, missing)


def test_the_index_of_two_halves_against_a_quarter_and_three_is_what_the_formula_says():
    by_hand = (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    assert psi(np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(by_hand)


def test_an_empty_bin_counts_with_the_floor():
    assert psi(np.array([1.0, 0.0]), np.array([0.9, 0.1])) == pytest.approx(
        -0.1 * np.log(0.9) + (0.1 - FLOOR) * np.log(0.1 / FLOOR)
    )


@given(counts, st.randoms())
def test_the_index_is_never_negative_and_symmetric(found, chance):
    first = np.array(found) / sum(found)
    second = first.copy()
    chance.shuffle(second)
    assert psi(first, first) == 0
    assert psi(first, second) >= 0
    assert psi(first, second) == pytest.approx(psi(second, first))


@given(st.lists(st.integers(-20, 20), min_size=1), st.integers(2, 10), st.integers(0, 5))
def test_shares_add_up_to_one_and_nothing_of_the_reference_lies_outside(values, num_bins, missing):
    reference = histogram(values, missing)
    found = shares(reference, quantile_edges(reference, num_bins))
    assert found.sum() == pytest.approx(1)
    assert found[0] == found[-2] == 0


def test_bins_hold_equal_parts_of_the_reference():
    reference = histogram(np.arange(1000))
    found = shares(reference, quantile_edges(reference, 10))
    assert found[1:-2] == pytest.approx(np.full(10, 0.1), abs=0.002)


def test_what_lies_below_and_above_the_reference_has_bins_of_its_own():
    edges = quantile_edges(histogram([5] * 10), 10)
    assert shares(histogram([4, 5, 6, 6]), edges).tolist() == [0.25, 0.25, 0.5, 0]


def test_a_column_without_any_value_has_missing_alone():
    nothing = histogram(np.array([], int), missing=7)
    assert shares(nothing, quantile_edges(nothing, 10)).tolist() == [0, 1]


@pytest.mark.parametrize(("n", "m"), [(400, 400), (2000, 300)])
def test_samples_of_one_distribution_pass_the_bound_as_often_as_its_level_says(n, m):
    chance = np.random.default_rng(4)
    truth = np.full(10, 0.1)
    passed = 0
    for _ in range(2000):
        first, second = chance.multinomial(n, truth) / n, chance.multinomial(m, truth) / m
        passed += psi(first, second) > null_bound(first, second, n, m, level=0.05)
    assert 0.03 < passed / 2000 < 0.08


def test_the_bound_grows_with_bins_and_shrinks_with_draws():
    few, many = np.full(5, 0.2), np.full(20, 0.05)
    assert null_bound(few, few, 100, 100, 0.01) < null_bound(many, many, 100, 100, 0.01)
    assert null_bound(few, few, 1000, 1000, 0.01) == pytest.approx(null_bound(few, few, 100, 100, 0.01) / 10)
    assert null_bound(few, few, 0, 100, 0.01) == 0


def test_names_of_either_side_are_counted():
    names, first, second = count_shares({"a": 3, "b": 1}, {"b": 1, "c": 1})
    assert names == ["a", "b", "c"]
    assert first.tolist() == [0.75, 0.25, 0]
    assert second.tolist() == [0, 0.5, 0.5]
