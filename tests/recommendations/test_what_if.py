from __future__ import annotations

from datetime import timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.contracts import schemas
from recsys_spark.evaluation.console import what_if_table
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.evaluation.sums import VALUES, Sums
from recsys_spark.recommendations.lists import passed_over
from recsys_spark.recommendations.policy import Policy
from recsys_spark.recommendations.rules import NUMBER_OF, ItemRules
from recsys_spark.recommendations.what_if import Ruler, bought_before, cost_of_rules, ruled_rankings
from tests.support.frames import frame, rows
from tests.support.worlds import START

DAY = 86_400_000_000
CODES = pa.array([None, *(f"i{item}" for item in range(1, 10))])


@pytest.fixture(scope="module")
def popularity(spark, tmp_path_factory) -> FittedPopularity:
    """Item 9 sells most, then 8, down to 1."""
    path = str(tmp_path_factory.mktemp("what_if") / "popularity")
    every = [{"item_idx": n, "num_events": n, "num_recent_events": n} for n in range(1, 10)]
    frame(spark, schemas.ITEM_POPULARITY, every).write.parquet(path)
    return FittedPopularity(path, "1")


def rankings(spark, lists):
    every = [
        {"query_id": query, "customer_id": "c", "event_time": START, "protocol": protocol, "stock_codes": codes.split()}
        for query, protocol, codes in lists
    ]
    return frame(spark, schemas.RANKINGS, every)


def ruled(spark, popularity, lists, bought, policy, rules=None):
    """The ruled lists by query and protocol, and what was passed over. bought: query, day, items, excluded items."""
    table = spark.createDataFrame(
        [(query, day * DAY, items, excluded) for query, day, items, excluded in bought],
        "query_id bigint, micros bigint, bought array<bigint>, excluded array<bigint>",
    )
    held = rules or ItemRules.none(9)
    ruler = Ruler(policy, partial(lambda kept: kept, held), partial(lambda kept: kept, CODES), popularity)
    found = ruled_rankings(rankings(spark, lists), table, ruler).localCheckpoint()
    return {(q, p): " ".join(c) for q, p, c in rows(found, "query_id", "protocol", "stock_codes")}, passed_over(found)


TWO = [
    (1, "all_items", "i1 i2 i3"),
    (1, "first_purchase", "i2 i3"),
    (2, "all_items", "i1 i2"),
    (2, "first_purchase", "i1"),
]


def test_without_rules_lists_are_as_they_were(spark, popularity):
    found, removed = ruled(spark, popularity, TWO, [(1, 0, [1], None), (2, 0, [2], None)], Policy(2))
    assert found == {
        (1, "all_items"): "i1 i2",
        (1, "first_purchase"): "i2 i3",
        (2, "all_items"): "i1 i2",
        (2, "first_purchase"): "i1 i9",  # a short list goes on with what sells, as recommending does
    }
    assert removed == {}


def test_each_query_is_ruled_at_its_own_time_and_for_its_own_customer(spark, popularity):
    rules = ItemRules.none(9)
    rules.end[2] = 5 * DAY
    bought = [(1, 4, [1], [3]), (2, 5, [9, 2], None)]
    found, removed = ruled(spark, popularity, TWO, bought, Policy(2), rules)
    assert found == {
        (1, "all_items"): "i1 i2",
        (1, "first_purchase"): "i2 i9",
        (2, "all_items"): "i1 i9",
        (2, "first_purchase"): "i1 i8",  # i9 is not new to this customer
    }
    assert removed == {"removed_no_longer": 1, "removed_customer_exclusions": 1}


def test_a_share_of_new_products_takes_them_from_the_ranking_of_new_ones(spark, popularity):
    lists = [(1, "all_items", "i1 i2 i3 i4"), (1, "first_purchase", "i4 i3")]
    found, _ = ruled(spark, popularity, lists, [(1, 0, [1, 2], None)], Policy(3, share_new=0.5))
    assert found[1, "all_items"] == "i4 i1 i3"
    assert found[1, "first_purchase"] == "i4 i3 i9"


def test_what_was_bought_before_a_query_knows_nothing_of_the_query_and_after(spark):
    queries = frame(
        spark,
        schemas.QUERIES,
        [
            {"query_id": n, "user_idx": 1, "customer_id": "c", "event_time": START + timedelta(days=n)}
            for n in (0, 2, 9)
        ],
    )
    start = int(START.timestamp()) * 1_000_000
    histories = spark.createDataFrame(
        [(1, [7, 3, 7, 5], [start, start + DAY, start + DAY, start + 2 * DAY])],
        "user_idx bigint, items array<bigint>, micros array<bigint>",
    )
    found = bought_before(queries, histories)
    assert rows(found, "query_id", "bought") == [(0, []), (2, [7, 3]), (9, [7, 3, 5])]


def test_the_cost_is_the_paired_difference_of_both_lists():
    """Two of four positives are found before, one after; in every replicate the same."""
    replicates = 5
    cells = {}
    for protocol in ("all_items", "first_purchase"):
        cells[f"totals\t{protocol}"] = np.tile([4.0, 8.0, 2.0], (1 + replicates, 1))
        for name, value in (("before", 2.0), ("after", 1.0)):
            cells[f"hits\t{name}\t{protocol}"] = np.full((1 + replicates, len(VALUES["hits"])), value)
    models = {"all_items": "two_stage", "first_purchase": "ease"}
    removed = {"all_items": {"removed_withdrawn": 1200}, "first_purchase": {}}
    found = cost_of_rules(Sums(cells, replicates), models, removed)
    metrics = found["protocols"]["all_items"]["metrics"]
    assert list(metrics) == ["per_positive", "money", "per_basket"]
    assert {tuple(labels) for labels in metrics.values()} == {("recall@20", "ndcg@20")}
    assert metrics["per_positive"]["recall@20"] | {"p_value": None} == {
        "before": 0.5,
        "after": 0.25,
        "estimate": -0.25,
        "interval": [-0.25, -0.25],
        "p_value": None,
    }
    assert metrics["money"]["ndcg@20"]["after"] == 0.125
    lines = what_if_table(found).splitlines()
    assert lines[0] == "test, all_items, two_stage: 4 positives"
    assert any(line.split()[:5] == ["per_positive", "recall@20", "0.5000", "0.2500", "-0.2500"] for line in lines)
    assert "  removed withdrawn: 1,200" in lines
    assert max(map(len, lines)) <= 100


def test_rules_that_bar_what_was_bought_cost_recall(spark, popularity):
    """The whole way from rankings to a rank: i2 was the positive at rank 2, and it is withdrawn."""
    rules = ItemRules.none(9)
    rules.barred[2] = NUMBER_OF["withdrawn"]
    ids = frame(
        spark,
        schemas.ITEM_ID_MAP,
        [{"item_idx": n, "stock_code": code} for n, code in enumerate(CODES.to_pylist()) if n],
    )
    positives = [{"query_id": 1, "user_idx": 1, "pos_item_idx": item, "is_repeat": False} for item in (2, 3)]
    sequences = frame(spark, schemas.SEQUENCES, positives)
    table = spark.createDataFrame([(1, 0, [])], "query_id bigint, micros bigint, bought array<bigint>")
    ranks = {}
    for name, held in (("before", ItemRules.none(9)), ("after", rules)):
        ruler = Ruler(Policy(2), partial(lambda kept: kept, held), partial(lambda kept: kept, CODES), popularity)
        found = ruled_rankings(rankings(spark, TWO[:2]), table, ruler)
        own = positive_ranks(found, sequences, ids).filter("protocol = 'all_items'")
        ranks[name] = rows(own, "pos_item_idx", "rank")
    assert ranks == {"before": [(2, 2), (3, None)], "after": [(2, None), (3, 2)]}
