"""Scores become probabilities that come true where they were fitted, and a shift shows."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.ranker.calibration import HISTOGRAM_DDL, calibration, log_share_histogram
from recsys_spark.ranker.score import load_ranker
from recsys_spark.ranker.shard_scores import score_shards
from tests.ranker.test_places import ranker, shards, shards_of_world  # noqa: F401  the same world
from tests.support.rankers import FEATURES

pytestmark = pytest.mark.torch

SLOPE, INTERCEPT = 1.3, 0.4


def histogram(spark: SparkSession, factor: float = 1.0) -> DataFrame:
    """Ten million candidates in each of 200 bins, bought as the planted line says, times a factor."""
    bins = np.arange(600, 800)
    odds = SLOPE * ((bins + 0.5) / 50 - 20) + INTERCEPT
    bought = np.round(10_000_000 * factor / (1 + np.exp(-odds))).astype(int)
    rows = [("all_items", int(number), 10_000_000, int(count)) for number, count in zip(bins, bought, strict=True)]
    return spark.createDataFrame(rows, HISTOGRAM_DDL)


def test_the_planted_line_is_found_and_comes_true(spark):
    found = calibration(histogram(spark), histogram(spark))
    assert set(found) == {"all_items"}  # nothing is known of first purchases
    told = found["all_items"]
    assert told["slope"] == pytest.approx(SLOPE, abs=0.01)
    assert told["intercept"] == pytest.approx(INTERCEPT, abs=0.01)
    assert told["expected_error"] < 1e-4
    assert sum(row["candidates"] for row in told["table"]) == 2_000_000_000
    chances = [row["probability"] for row in told["table"]]
    assert chances == sorted(chances)


def test_a_split_in_which_half_is_bought_shows_in_every_row(spark):
    told = calibration(histogram(spark), histogram(spark, factor=0.5))["all_items"]
    for row in told["table"]:
        assert row["bought"] == pytest.approx(row["probability"] / 2, rel=0.001)
    expected = sum(row["probability"] * row["candidates"] for row in told["table"]) / 2_000_000_000
    assert told["expected_error"] == pytest.approx(expected / 2, rel=0.001)


def test_the_histogram_counts_every_candidate_once(spark, ranker, shards):  # noqa: F811
    found = {
        (row["protocol"], row["bin"]): (row["candidates"], row["bought"])
        for row in log_share_histogram(score_shards(shards, ranker)).collect()
    }
    expected: dict[tuple[str, int], tuple[int, int]] = {}
    loaded = load_ranker(ranker.path, ranker.content)
    for _, own in shards_of_world().groupby("query_id"):
        scores = loaded.scores(own[list(FEATURES)].to_numpy(np.float32), own["query_id"].to_numpy())
        for place, protocol in enumerate(("all_items", "first_purchase")):
            counts = ~own["is_repeat"].to_numpy() if place else np.ones(len(own), bool)
            shares = np.exp(scores[counts, place])
            for share, label in zip(shares / shares.sum(), own["label"].to_numpy()[counts], strict=True):
                key = (protocol, int((max(np.log(share), -20.0) + 20) * 50) if share < 1 else 999)
                before = expected.get(key, (0, 0))
                expected[key] = (before[0] + 1, before[1] + int(label))
    assert found == expected
