"""Weights against formulas written out in NumPy, and against values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.baselines import weights
from recsys_spark.contracts.errors import ConfigError

# Rows are customers, columns items; one customer bought every item.
QUANTITIES = np.array([[2.0, 0, 1, 0], [5, 0, 0, 4], [1, 1, 1, 1], [0, 9, 0, 0]])


@pytest.fixture
def triples(spark: SparkSession) -> DataFrame:
    users, items = np.nonzero(QUANTITIES)
    values = zip((users + 1).tolist(), (items + 1).tolist(), QUANTITIES[users, items].tolist(), strict=True)
    return spark.createDataFrame(list(values), "row bigint, col bigint, weight double").repartition(3)


def as_matrix(frame: DataFrame) -> np.ndarray:
    matrix = np.zeros_like(QUANTITIES)
    for row, col, weight in frame.select("row", "col", "weight").collect():
        matrix[row - 1, col - 1] = weight
    return matrix


def idf() -> np.ndarray:
    """Per customer; below 0 for the one who bought every item, whose entries therefore leave."""
    num_items = QUANTITIES.shape[1]
    values = np.log(num_items) - np.log1p((QUANTITIES > 0).sum(axis=1))
    assert values[2] < 0
    return np.maximum(values, 0.0)[:, None]


def test_binary_and_log_quantity(triples: DataFrame) -> None:
    assert (as_matrix(weights.binary(triples)) == (QUANTITIES > 0)).all()
    np.testing.assert_allclose(as_matrix(weights.log_quantity(triples)), np.log1p(QUANTITIES))
    assert as_matrix(weights.log_quantity(triples))[3, 1] == pytest.approx(math.log(10))


def test_entries_without_a_quantity_leave(spark: SparkSession) -> None:
    entries = spark.createDataFrame([(1, 1, 0.0), (1, 2, -3.0), (1, 3, 2.0)], "row bigint, col bigint, weight double")
    for weigh in (weights.binary, weights.log_quantity):
        assert [row.col for row in weigh(entries).collect()] == [3]


def test_tf_idf_is_that_of_implicit(triples: DataFrame) -> None:
    np.testing.assert_allclose(as_matrix(weights.tf_idf(triples)), np.sqrt(QUANTITIES) * idf())
    assert as_matrix(weights.tf_idf(triples))[3, 1] == pytest.approx(3 * math.log(2))  # sqrt(9) (ln 4 - ln 2)


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (100.0, 0.0), (0.5, 1.0)])
def test_bm25_is_that_of_implicit(triples: DataFrame, k1: float, b: float) -> None:
    sums = QUANTITIES.sum(axis=0)
    length_norm = 1 - b + b * sums / sums.mean()
    expected = QUANTITIES * (k1 + 1) / (k1 * length_norm + QUANTITIES) * idf()
    np.testing.assert_allclose(as_matrix(weights.bm25(triples, k1=k1, b=b)), expected)


def test_bm25_refuses_settings_out_of_range(triples: DataFrame) -> None:
    with pytest.raises(ConfigError, match="BM25"):
        weights.bm25(triples, b=1.5)
