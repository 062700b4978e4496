"""The best model: chosen on val, by the headline alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import SENTINEL
from recsys_spark.contracts.model_config import NEW_ITEMS
from recsys_spark.evaluation.document import evaluation_document
from recsys_spark.evaluation.ranking_metrics import HEADLINE, METRICS
from recsys_spark.evaluation.results import choose_best
from recsys_spark.evaluation.summary import SplitSummary
from recsys_spark.evaluation.sums import TOTALS, VALUES, Sums

REPLICATES = 3
NUM_POSITIVES = 10.0


def sums(all_items: Mapping[str, float], first_purchase: Mapping[str, float] | None = None) -> Sums:
    """What each model hits of ten positives by the headline; by every other metric it hits what is left of them."""
    cells = {}
    hits = {"all_items": all_items, "first_purchase": all_items if first_purchase is None else first_purchase}
    for protocol, by_model in hits.items():
        cells[f"totals\t{protocol}"] = np.full((1 + REPLICATES, len(TOTALS)), NUM_POSITIVES)
        for model, hit in by_model.items():
            values = [hit if name == HEADLINE.column else NUM_POSITIVES - hit for name in VALUES["hits"]]
            cells[f"hits\t{model}\t{protocol}"] = np.tile(values, (1 + REPLICATES, 1))
    return Sums(cells, REPLICATES)


def summary(all_items: Mapping[str, float]) -> SplitSummary:
    return SplitSummary(sums(all_items), counts={}, coverage={}, shares={}, eligible_items=500, first_orders=0)


def test_the_headline_is_recall_at_20_of_every_positive():
    assert (HEADLINE.section, HEADLINE.label) == ("per_positive", "recall@20")
    assert len(METRICS) > 20  # by all others the winners of these tests lose


def test_each_protocol_has_the_model_with_the_highest_headline():
    val = sums({"low": 2, "high": 4, "middle": 3}, {"low": 5, "high": 1, "middle": 3})
    assert choose_best(val, ["low", "high", "middle"]) == {"all_items": "high", "first_purchase": "low"}


@pytest.mark.parametrize("models", [["one", "two", "weak"], ["two", "weak", "one"]])
def test_of_equals_the_first_named_is_best(models):
    found = choose_best(sums({"weak": 3, "one": 4, "two": 4}), models)
    assert found == dict.fromkeys(LIST_PROTOCOLS, models[0])


def test_sums_that_differ_beyond_their_digits_are_equal():
    val = sums({"one": 4, "two": 4 + 1e-13})  # as another partitioning leaves them
    assert choose_best(val, ["one", "two"]) == dict.fromkeys(LIST_PROTOCOLS, "one")


@pytest.mark.parametrize("barred", [SENTINEL, NEW_ITEMS])
def test_what_is_ranked_as_a_measure_is_never_best(barred):
    found = choose_best(sums({barred: 9, "model": 1}), [barred, "model"])
    assert found == dict.fromkeys(LIST_PROTOCOLS, "model")


def test_a_model_that_hits_nothing_is_best_where_it_stands_alone_beside_the_sentinel():
    assert choose_best(sums({SENTINEL: 9}), [SENTINEL, "model"]) == dict.fromkeys(LIST_PROTOCOLS, "model")


@pytest.mark.parametrize("order", [("val", "test"), ("test", "val")])
def test_the_best_models_are_those_of_val_whatever_wins_on_test(order):
    splits = {
        "val": summary({"tower": 6, "knn": 4, "both": 8, "all": 7}),
        "test": summary({"tower": 4, "knn": 6, "both": 7, "all": 8}),
    }
    given = {split: splits[split] for split in order}
    found = evaluation_document(given, ["knn", "all", "both", "tower"], REPLICATES, two_stage=["all", "both"])
    assert found["best"] == dict.fromkeys(LIST_PROTOCOLS, "both")
    assert found["best_single"] == dict.fromkeys(LIST_PROTOCOLS, "tower")
    for split in ("val", "test"):
        references = {name: each["reference"] for name, each in found["split"][split]["protocols"].items()}
        assert set(references.values()) == {"tower"}
    on_test = found["split"]["test"]["protocols"]["all_items"]["models"]["knn"]
    assert on_test["per_positive"]["recall@20"] == 0.6
    assert on_test["difference"]["per_positive"]["recall@20"]["estimate"] == pytest.approx(0.2)


def test_of_a_val_without_positives_the_best_is_said_to_be_chosen_by_nothing():
    told = summary({"one": 0, "two": 4})
    empty = replace(told, sums=Sums({}, REPLICATES))
    found = evaluation_document({"val": empty, "test": told}, ["one", "two"], REPLICATES)
    assert set(found["best"].values()) == {"one"}
    assert [line.split(",")[:2] for line in found["warnings"]] == [
        ["val", f" {protocol}: no positive"] for protocol in LIST_PROTOCOLS
    ]
    assert evaluation_document({"val": told, "test": empty}, ["one", "two"], REPLICATES)["warnings"] == []


def test_what_ranks_new_items_alone_has_no_waterfall():
    told = summary({"model": 4, NEW_ITEMS: 1})
    found = evaluation_document({"val": told, "test": told}, ["model", NEW_ITEMS], REPLICATES)
    models = found["split"]["test"]["protocols"]["all_items"]["models"]
    assert {model: "waterfall" in means for model, means in models.items()} == {"model": True, NEW_ITEMS: False}
