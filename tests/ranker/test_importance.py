"""Shuffling what the ranker leans on costs it, shuffling what says nothing does not."""

from __future__ import annotations

import pytest

from recsys_spark.ranker.importance import permutation_importance
from tests.ranker.test_places import ranker, shards  # noqa: F401  the same world
from tests.support.rankers import FEATURES

pytestmark = pytest.mark.torch


def test_features_that_decide_lose_most_and_one_that_says_nothing_loses_nothing(ranker, shards):  # noqa: F811
    found = permutation_importance(shards, ranker, seed=1)
    assert len(found) == 2 * len(FEATURES)
    loss = {(row["protocol"], row["feature"]): row["loss"] for row in found}
    assert loss["first_purchase", "new_sign"] > 0.1
    assert abs(loss["first_purchase", "dot_uv"]) < loss["first_purchase", "new_sign"] / 3  # 30 positives: some noise
    assert loss["all_items", "new_sign"] > 0.03 < loss["all_items", "repeat_sign"]
    assert [row["loss"] for row in found[: len(FEATURES)]] == sorted(r["loss"] for r in found[: len(FEATURES)])[::-1]


def test_importance_does_not_depend_on_partitions(ranker, shards):  # noqa: F811
    assert permutation_importance(shards.repartition(5), ranker, 1) == permutation_importance(shards, ranker, 1)
