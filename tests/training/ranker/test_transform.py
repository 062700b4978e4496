"""Features on their way into the MLP, by hand; the sample of rows that they are fitted to."""

from __future__ import annotations

import math

import numpy as np
import pyarrow  # noqa: F401  before torch
import pytest
import torch

from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.ranker_file import LIMIT
from tests.support.rankers import FEATURES, Candidates, planted
from training.process_group import Group
from training.ranker.sample import HashSample, row_hashes, sample_rows
from training.ranker.transform import NUM_KNOTS, FeatureTransform, between_knots

pytestmark = pytest.mark.torch


def fitted(kind: str, values: list[float]) -> FeatureTransform:
    transform = FeatureTransform((kind,))
    transform.fit(np.array(values, dtype=np.float32)[:, None])
    return transform


def applied(transform: FeatureTransform, values: list[float]) -> list[float]:
    return transform(torch.tensor(values)[:, None])[:, 0].tolist()


def test_a_standard_feature_loses_its_mean_and_is_divided_by_its_deviation():
    transform = fitted("standard", [1.0, 3.0, 5.0, 7.0])
    assert applied(transform, [4.0, 4.0 + math.sqrt(5)]) == pytest.approx([0.0, 1.0])


def test_a_log_feature_is_the_logarithm_of_its_size_with_its_sign():
    values = [0.0, math.e - 1, -(math.e - 1), math.e**3 - 1]  # logs: 0, 1, -1, 3
    deviation = math.sqrt((0 + 1 + 1 + 9) / 4 - 0.75**2)
    expected = [(log - 0.75) / deviation for log in (0, 1, -1, 3)]
    assert applied(fitted("log", values), values) == pytest.approx(expected, rel=1e-5)


def test_a_quantile_feature_lies_evenly_between_minus_one_and_one():
    values = [float(value) ** 3 for value in range(NUM_KNOTS)]  # each is a knot
    transform = fitted("quantile", values)
    even = np.linspace(-1, 1, NUM_KNOTS)
    assert applied(transform, values) == pytest.approx(((even - even.mean()) / even.std()).tolist(), abs=1e-5)
    between, beyond = applied(transform, [(values[9] + values[10]) / 2, 1e9])
    assert between == pytest.approx((even[9] + even[10]) / 2 / even.std(), abs=1e-5)
    assert beyond == pytest.approx(1 / even.std(), abs=1e-5)


def test_a_value_that_is_several_knots_lies_in_their_middle():
    knots = torch.tensor([[0.0, 0.0, 0.0, 1.0, 5.0]])
    values = torch.tensor([[-1.0], [0.0], [0.5], [1.0], [3.0], [9.0]])
    assert between_knots(values, knots)[:, 0].tolist() == [-1.0, -0.5, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("kind", ["standard", "log", "quantile"])
def test_a_constant_feature_is_zero_and_far_values_are_clipped(kind):
    assert applied(fitted(kind, [0.1] * 1000), [0.1]) == pytest.approx([0.0], abs=1e-5)
    assert applied(fitted("standard", [0.0, 1.0]), [1e9, -1e9]) == [LIMIT, -LIMIT]


def test_what_was_fitted_is_in_the_state():
    rows = planted(30).features
    kinds = ("quantile", "log", "standard", "quantile")
    transform, other = FeatureTransform(kinds), FeatureTransform(kinds)
    transform.fit(rows)
    other.load_state_dict(transform.state_dict())
    assert torch.equal(transform(torch.from_numpy(rows)), other(torch.from_numpy(rows)))
    assert set(transform.state_dict()) == {"mean", "deviation", "knots"}


def columns_of(rows: Candidates) -> dict[str, torch.Tensor]:
    named = {name: torch.from_numpy(values) for name, values in vars(rows).items() if name != "features"}
    return named | dict(zip(FEATURES, torch.from_numpy(rows.features).T, strict=True))


def sampled(rows: Candidates, parts: int, size: int) -> np.ndarray:
    batches = [columns_of(rows.rows(part)) for part in np.array_split(np.arange(len(rows)), parts)]
    return sample_rows(batches, FEATURES, Group(), size)


def test_the_sample_is_the_same_for_any_order_and_any_batches():
    rows = planted(60)
    mixed = rows.rows(np.random.default_rng(1).permutation(len(rows)))
    whole = sampled(rows, 1, 50)
    assert whole.shape == (50, len(FEATURES))
    assert np.array_equal(whole, sampled(rows, 30, 50))
    assert np.array_equal(whole, sampled(mixed, 7, 50))
    assert {tuple(row) for row in whole} <= {tuple(row) for row in rows.features}
    assert len(sampled(rows, 5, 10_000)) == len(rows)  # all of them


def test_a_row_is_as_likely_in_the_sample_as_any_other_and_few_are_held():
    number, size, sample = 20_000, 500, HashSample(500, 1)
    for part in np.array_split(np.arange(number), 40):
        sample.add(row_hashes(part // 50, part % 50), part[:, None].astype(np.float32))
        assert sum(len(hashes) for hashes, _ in sample._added) < size
    hashes, rows = sample.rows()
    assert len(hashes) == size
    assert bool((np.diff(hashes.astype(np.float64)) >= 0).all())
    assert rows.mean() == pytest.approx(number / 2, rel=0.1)  # a standard error is 0.026


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_feature_that_is_no_finite_number_is_named(value):
    rows = planted(5)
    rows.features[3, 2] = value
    with pytest.raises(DataError, match=r"features \['repeat_sign'\] hold values that are no finite number"):
        sampled(rows, 1, 100)


def test_rows_without_a_positive_are_refused():
    rows = planted(5)
    rows.label[:] = 0
    with pytest.raises(DataError, match="the training rows hold no positive"):
        sampled(rows, 1, 100)
