"""Variants lack what their names say, and their figures are end to end."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_spark.contracts.candidate_config import QuotasConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.features import chosen_features
from recsys_spark.contracts.ranker_config import VARIANTS, RankerConfig
from recsys_spark.ranker.ablations import ablations_table, compared, positive_totals, variants
from recsys_spark.ranker.places import METRICS, Resampled, resampled
from tests.support.frames import rows

QUOTAS = {"own": 100, "ease": 60}
FEATURES = chosen_features("full", tuple(QUOTAS))
CONFIG = RankerConfig()


def test_each_variant_lacks_what_its_name_says():
    found = {each.name: each for each in variants(VARIANTS, FEATURES, QUOTAS, CONFIG)}
    names = {name: {feature.name for feature in each.features} for name, each in found.items()}
    assert names["whole"] == {feature.name for feature in FEATURES}
    assert names["base"] == {"dot_uv", "max_sim_recent", "pop", "hist_len", "price_z"}
    assert names["whole"] - names["without_ease"] == {"rank_ease", "score_ease", "num_sources"}
    assert found["without_ease"].proposers == {"own": 100}
    assert names["whole"] - names["without_price"] == {"price_gap"}
    assert [each.name for each in found.values() if not each.is_trained] == ["no_ranker"]
    assert (found["lambdarank"].config.model, found["bce"].config.loss) == ("lambdarank", "bce")
    plain = found["plain"].config
    assert (plain.loss, plain.negatives_per_positive, plain.feature_drop, plain.within_query) == ("bce", 4, 0.1, False)
    assert plain.drop_features == ("dot_uv",)
    groups = {feature.group for feature in FEATURES}
    assert set(found) == {"whole", "base", "no_ranker", "bce", "plain", "lambdarank"} | {
        f"without_{part}" for part in (*groups, *QUOTAS)
    }


def test_variants_drop_only_features_that_they_have_and_none_is_left_without_any():
    config = RankerConfig(feature_drop=0.3, drop_features=("dot_uv", "pop", "rank_ease"))
    found = {each.name: each.config for each in variants(VARIANTS, FEATURES, QUOTAS, config)}
    assert (found["without_base"].drop_features, found["without_base"].feature_drop) == (("rank_ease",), 0.3)
    assert found["without_ease"].drop_features == ("dot_uv", "pop")
    base = chosen_features("base", tuple(QUOTAS))
    lone = variants(("groups",), base, QUOTAS, RankerConfig(feature_drop=0.3))
    assert [each.name for each in lone] == ["whole"]  # without its only group there is nothing to train on


def test_one_source_alone_cannot_be_left_out():
    assert [each.name for each in variants(("sources",), FEATURES, {"own": 9}, CONFIG)] == ["whole"]


def test_sources_are_not_left_out_where_shards_have_no_ranks(caplog):
    base = chosen_features("base", tuple(QUOTAS))
    assert [each.name for each in variants(("sources",), base, QUOTAS, CONFIG)] == ["whole"]
    assert "no ranks" in caplog.text


def test_no_quota_reaches_the_rank_that_stands_for_none():
    missing = {feature.missing for feature in FEATURES if feature.name.startswith("rank_")}
    assert missing == {1000}
    assert QuotasConfig(ease=999).of("ease") == 999
    with pytest.raises(ConfigError, match=r"candidates\.quotas\.ease"):
        QuotasConfig(ease=1000)


def with_sums(positives: list[float], hits: list[float]) -> Resampled:
    """Sums in which every metric is the hits."""
    columns = [positives, *([hits] * len(METRICS))]
    return Resampled(np.array(columns, dtype=np.float64).T)


def test_figures_are_over_all_positives_and_differences_are_paired():
    totals = {"all_items": with_sums([100, 100, 50], [0, 0, 0])}
    found = {
        "whole": {"all_items": with_sums([60, 60, 30], [20, 30, 10])},
        "base": {"all_items": with_sums([60, 60, 30], [10, 20, 5])},
        "none": {},
    }
    told = {name: each["all_items"]["recall@20"] for name, each in compared(found, totals).items()}
    assert told["whole"] == {"value": 0.2, "difference": 0.0, "interval": [0.0, 0.0]}
    assert (told["base"]["value"], told["base"]["difference"]) == pytest.approx((0.1, -0.1))
    assert told["base"]["interval"] == pytest.approx([-0.1, -0.1])  # in both replicates
    assert told["none"]["difference"] == pytest.approx(-0.2)


def test_positives_of_first_purchases_are_those_never_bought_before(spark):
    sequences = spark.createDataFrame([(1, True), (1, False), (2, False)], "user_idx bigint, is_repeat boolean")
    totals = positive_totals(sequences)
    assert rows(totals, "user_idx", "protocol") == [
        (1, "all_items"),
        (1, "all_items"),
        (1, "first_purchase"),
        (2, "all_items"),
        (2, "first_purchase"),
    ]
    counted = resampled(totals, 100, 1)
    assert {key[0]: each.num_positives for key, each in counted.items()} == {"all_items": 3, "first_purchase": 2}


def test_the_table_says_what_each_variant_loses():
    held = {"value": 0.1, "difference": -0.01, "interval": [-0.02, 0.0]}
    both = {"recall@20": held, "ndcg@20": held}
    table = ablations_table({"split": {"test": {"whole": {"all_items": both}, "base": {"all_items": both}}}})
    assert "base" in table
    assert "-0.0100 [-0.0200, +0.0000]" in table.splitlines()[-3]
