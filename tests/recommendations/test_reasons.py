from __future__ import annotations

from collections import defaultdict

import pytest

from recsys_spark.contracts import schemas
from recsys_spark.contracts.recommend_config import ReasonsConfig
from recsys_spark.recommendations.reasons import Teller, facts_of_reason, kind_of_reason, sentence, sources_in_words

OPTIONS = ReasonsConfig(recent_items=3, min_customers=2, min_similarity=0.6)


def bought(times: int, days_ago: int, gap_days: float) -> dict:
    return {"times_bought": times, "days_ago": days_ago, "gap_days": gap_days}


def test_sentences_read_well_in_every_case():
    own = {"own_stock_code": "A1", "own_description": "كوب", "own_days_ago": 1}
    sold = {"num_events": 40, "num_customers": 1, "recent_days": 28}
    cases = [
        ("repeat", {"times_bought": 1, "days_ago": 0}, "bought once, less than a day ago"),
        ("repeat", {"times_bought": 1, "days_ago": 35}, "bought once, 35 days ago"),
        ("repeat", bought(2, 35, 31.2), "bought twice, 31 days apart, last 35 days ago"),
        ("repeat", bought(2, 0, 31.2), "bought twice, 31 days apart, last less than a day ago"),
        ("repeat", bought(7, 1, 31.5), "bought 7 times, about every 32 days, last 1 day ago"),
        ("repeat", bought(9, 2, 0.9), "bought 9 times, about every day, last 2 days ago"),
        ("repeat", bought(3, 2, 0.1), "bought 3 times, last 2 days ago"),
        (
            "bought_together",
            {**own, "other_customers": 1200, "other_baskets": 300},
            "goes with ⟨كوب⟩ (⟨A1⟩), which this customer bought 1 day ago: 1,200 other customers bought both, "
            "300 orders had both",
        ),
        (
            "bought_together",
            {"own_stock_code": "A1", "own_days_ago": 0, "other_customers": 1, "other_baskets": 1},
            "goes with ⟨A1⟩, which this customer bought less than a day ago: 1 other customer bought both, "
            "1 order had both",
        ),
        (
            "bought_together",
            {**own, "other_customers": 1200, "other_baskets": 299},
            "1,200 other customers who bought ⟨كوب⟩ (⟨A1⟩), as this one did 1 day ago, bought it too",
        ),
        (
            "similar",
            {**own, "similarity": 0.7},
            "bought in much the same way as ⟨كوب⟩ (⟨A1⟩), which this customer bought 1 day ago",
        ),
        (
            "popular_in_category",
            {"category": "CUPS", "category_rank": 3, "category_times": 2, **sold},
            "best seller no. 3 in ⟨CUPS⟩, where this customer bought twice: sold 40 times to 1 customer in the last 28 "
            "days",
        ),
        ("popular", {"num_events": 1, "num_customers": 1}, "sold once to 1 customer so far"),
    ]
    told = [sentence(kind, {**dict.fromkeys(schemas.REASON_FACTS), **given}) for kind, given, _ in cases]
    plain = [text.replace("\u2068", "⟨").replace("\u2069", "⟩") for text in told]
    assert plain == [expected for _, _, expected in cases]


SOURCES = {
    "item_knn": "bought_together",
    "ease": "bought_together",
    "two_tower_all": "similar",
    "category_popularity": "popular_in_category",
    "rolling_popularity": "popular",
    "popularity": "popular",
}


@pytest.mark.parametrize(
    ("lacking", "kinds"),
    [
        ({}, SOURCES),
        ({"other_customers": 1}, {**SOURCES, "item_knn": "similar", "ease": "similar"}),
        ({"similarity": 0.5}, {**SOURCES, "two_tower_all": "bought_together"}),
        ({"category_rank": 21}, {**SOURCES, "category_popularity": "bought_together"}),
        (
            {"other_customers": None, "similarity": None, "category_times": None},
            dict.fromkeys(SOURCES, "popular"),
        ),
        ({"times_bought": 1}, dict.fromkeys(SOURCES, "repeat")),
    ],
)
def test_the_kind_is_what_the_best_source_has_seen_where_there_is_evidence(lacking, kinds):
    evidence = {"times_bought": 0, "other_customers": 2, "similarity": 0.6, "category_rank": 20, "category_times": 1}
    assert {source: kind_of_reason({**evidence, **lacking}, source, OPTIONS) for source in kinds} == kinds


@pytest.mark.parametrize(
    ("row", "kind", "model"),
    [
        ({"source_ranks": [{"source": "two_tower_all", "rank": 2}], "is_scored": True}, "similar", "ease"),
        ({"source_ranks": None, "is_scored": True}, "bought_together", "ease"),  # the model itself is explained
        ({"source_ranks": None, "is_scored": False}, "popular", "popularity"),
    ],
)
def test_what_is_explained_is_the_best_source_else_the_model_else_that_the_product_is_popular(row, kind, model):
    teller = Teller("ease", OPTIONS, recent_days=28)
    known = defaultdict(lambda: 1, {"times_bought": 0, "other_customers": 2, "similarity": 0.6, **row})
    assert teller.reason(known).kind == kind
    assert teller.ranked_by(known) == model


def test_sales_are_those_of_the_recent_days_where_there_are_any():
    row = {"num_events": 90, "num_customers": 50, "num_recent_events": 4, "num_recent_customers": 3}
    recent = facts_of_reason("popular", row, 28)
    ever = facts_of_reason("popular", {**row, "num_recent_events": 0, "num_recent_customers": 0}, 28)
    assert (recent["num_events"], recent["num_customers"], recent["recent_days"]) == (4, 3, 28)
    assert (ever["num_events"], ever["num_customers"], ever["recent_days"]) == (90, 50, None)
    assert list(recent) == list(schemas.REASON_FACTS)


def test_sources_are_told_best_first_and_none_where_none_proposed():
    ranks = [{"source": "own", "rank": 3}, {"source": "item_knn", "rank": 12}]
    assert sources_in_words({"source_ranks": ranks}) == "own 3, item_knn 12"
    assert sources_in_words({"source_ranks": None}) is None
