from dataclasses import replace
from math import log2

import pytest

from benchmarks.metrics import Positive, ranx_means
from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.evaluation.document import evaluation_document
from recsys_spark.evaluation.protocols import PROTOCOLS
from recsys_spark.evaluation.ranking_metrics import METRICS, metric_of, recall_at_k
from recsys_spark.evaluation.summary import summarise
from tests.evaluation import worlds
from tests.evaluation.worlds import World, random_world

CONFIG = EvaluationConfig(replicates=100, diversity_queries=20, max_categories=1)
HAND = World(  # one customer, two baskets: {1, 2} and {3}; only item 1 was bought before, item 3 is cold
    positives=[(1, 10, 1, 6.0, True), (1, 10, 2, 2.0, False), (1, 11, 3, 2.0, False)],
    lists={"model": {(10, "all_items"): [1, 9, 2], (10, "first_purchase"): [9, 2]}},
    cold_items={3},
    bought={(1, 1), (9, 9)},
)
# Customers 1 to 3 had one, two and three events up to the cutoff, customer 4 none; orders are told by their numbers.
CUSTOMERS = World(
    positives=[
        (1, 1_000_002, 1, 1.0, True),
        (2, 2_000_003, 3, 1.0, False),
        (2, 2_000_003, 4, 1.0, False),
        (3, 3_000_005, 6, 1.0, True),
        (3, 3_000_005, 2, 1.0, False),
        (4, 4_000_002, 9, 1.0, False),
    ],
    lists={
        "model": {
            (1_000_002, "all_items"): [1],
            (2_000_003, "all_items"): [3, 8],  # without item 4
            (3_000_005, "all_items"): [10, 6, *range(12, 31), 2],  # item 2 behind the twentieth place
        }
    },
    bought={(1, 1), (2, 7), (2, 8), (3, 6), (3, 10), (3, 11)},
)


def _evaluation(spark, world, models=None, partitions=None):
    frames = world.frames(spark)
    if partitions:
        frames = replace(frames, sequences=frames.sequences.repartition(partitions))
    summary = summarise(frames, lambda _, frame: frame.localCheckpoint(), CONFIG, seed=1)
    return evaluation_document({"val": summary, "test": summary}, models or list(world.lists), CONFIG.replicates)


@pytest.fixture(scope="module")
def by_hand(spark):
    return _evaluation(spark, HAND, ["model", "absent"])["split"]["test"]


@pytest.fixture(scope="module")
def world():
    return random_world(num_users=60, seed=5)


@pytest.fixture(scope="module")
def at_random(spark, world):
    return _evaluation(spark, world)["split"]["test"]["protocols"]


def test_means_worked_by_hand(by_hand):
    result = by_hand["protocols"]["all_items"]
    means = result["models"]["model"]
    assert (result["num_positives"], result["num_queries"]) == (3, 2)
    assert means["per_positive"]["recall@5"] == pytest.approx(2 / 3)
    assert means["per_positive"]["ndcg@5"] == pytest.approx((1 + 1 / log2(4)) / 3)
    assert means["per_positive"]["mrr@5"] == pytest.approx((1 + 1 / 3) / 3)
    assert means["per_basket"]["recall@5"] == pytest.approx((1 + 0) / 2)
    assert means["per_basket"]["ndcg@5"] == pytest.approx((1 + 0.5) / (1 + 1 / log2(3)) / 2)
    assert means["money"]["recall@5"] == pytest.approx((6 + 2) / 10)
    assert means["money"]["ndcg@5"] == pytest.approx((6 + 2 * 0.5) / 10)


def test_first_purchase_counts_only_what_is_no_repeat(by_hand):
    result = by_hand["protocols"]["first_purchase"]
    assert (result["num_positives"], result["num_queries"]) == (2, 2)
    assert result["models"]["model"]["per_positive"]["ndcg@5"] == pytest.approx(1 / log2(3) / 2)


def test_a_model_without_lists_scores_zero_on_the_same_positives(by_hand):
    absent = by_hand["protocols"]["all_items"]["models"]["absent"]
    assert all(metric_of(absent, metric) == 0 for metric in METRICS)
    assert absent["waterfall"]["causes"] == {
        "item_cold": 1,
        "not_retrieved": 2,
        "lost_by_index": 0,
        "ranked_below_k": 0,
    }
    assert absent["lists"] == {"novelty@5": None, "novelty@10": None, "novelty@20": None, "diversity@20": None}


def test_shares_worked_by_hand(by_hand):
    assert by_hand["shares"] == {
        "queries_of_cold_customers": 0,
        "positives_of_cold_customers": 0,
        "positives_with_cold_items": pytest.approx(1 / 3),
        "repeat_positives": pytest.approx(1 / 3),
    }


def test_segments_worked_by_hand(by_hand):
    segments = by_hand["protocols"]["all_items"]["segments"]
    counts = {
        kind: {value: found["num_positives"] for value, found in values.items()} for kind, values in segments.items()
    }
    assert counts == {
        "purchase": {"repeat": 1, "first": 2},
        "item": {"warm": 2, "cold": 1},
        "history": {"more_orders": 3},
        "customer": {"warm": 3},
        "activity": {"low": 3},
        "category": {"(none)": 1, "(other)": 2},  # three categories of one positive each: the first by name is kept
    }
    assert segments["purchase"]["first"]["models"]["model"]["recall@20"] == 1 / 2


@pytest.fixture(scope="module")
def by_customer(spark):
    return _evaluation(spark, CUSTOMERS)["split"]["test"]


def test_customers_are_told_apart_by_what_is_known_of_them(by_customer):
    segments = by_customer["protocols"]["all_items"]["segments"]
    told = {
        kind: {value: (found["num_positives"], found["models"]["model"]["recall@20"]) for value, found in each.items()}
        for kind, each in segments.items()
    }
    assert told == {
        "purchase": {"repeat": (2, 1.0), "first": (4, 0.25)},
        "item": {"warm": (6, 0.5)},
        "history": {"one_order": (2, 0.5), "more_orders": (4, 0.5)},
        "customer": {"warm": (5, 0.6), "cold": (1, 0.0)},
        "activity": {"low": (1, 1.0), "middle": (2, 0.5), "high": (2, 0.5), "cold": (1, 0.0)},
        "category": {"CUPS": (3, pytest.approx(2 / 3)), "(other)": (3, pytest.approx(1 / 3))},
    }
    assert segments["activity"]["high"]["models"]["model"]["mrr@20"] == 1 / 4
    assert by_customer["first_orders_without_query"] == 1
    assert by_customer["shares"] == {
        "queries_of_cold_customers": 1 / 4,
        "positives_of_cold_customers": pytest.approx(1 / 6),
        "positives_with_cold_items": 0,
        "repeat_positives": pytest.approx(1 / 3),
    }


def test_what_a_list_lacks_was_ranked_below_and_what_has_no_list_was_not_retrieved(by_customer):
    found = by_customer["protocols"]["all_items"]["models"]["model"]["waterfall"]
    assert found == {
        "hits": 3,
        "causes": {"item_cold": 0, "not_retrieved": 1, "lost_by_index": 0, "ranked_below_k": 2},
        "end_to_end": {"retrieved": pytest.approx(5 / 6), "recall_within": 3 / 5, "recall": 1 / 2},
    }


def test_the_category_that_keeps_its_name_has_most_positives_whatever_protocols_count_them(spark):
    repeats = [(1, 10, item, 1.0, True) for item in (3, 6, 9, 12)]  # of CUPS, which two protocols count
    firsts = [(1, 10, item, 1.0, False) for item in (1, 4, 7)]  # of PLATES, which all three do
    evaluation = _evaluation(spark, World(repeats + firsts, {"model": {}}, bought={(1, 3)}))
    found = evaluation["split"]["test"]["protocols"]["all_items"]["segments"]["category"]
    assert {value: segment["num_positives"] for value, segment in found.items()} == {"CUPS": 4, "(other)": 3}


def test_a_category_that_is_called_other_is_not_the_rest(spark, monkeypatch):
    monkeypatch.setattr(worlds, "CATEGORIES", ("other", "CUPS", None))
    bought = [(1, 10, item, 1.0, False) for item in (3, 6, 1)]
    evaluation = _evaluation(spark, World(bought, {"model": {}}))
    found = evaluation["split"]["test"]["protocols"]["all_items"]["segments"]["category"]
    assert {value: segment["num_positives"] for value, segment in found.items()} == {"other": 2, "(other)": 1}


def test_a_missed_positive_has_one_cause(by_hand):
    found = by_hand["protocols"]["all_items"]["models"]["model"]["waterfall"]
    assert found["hits"] == 2
    assert found["causes"] == {"item_cold": 1, "not_retrieved": 0, "lost_by_index": 0, "ranked_below_k": 0}


def test_a_split_without_positives_has_null_means(spark):
    evaluation = _evaluation(spark, World(positives=[], lists={"model": {}, "other": {}}))
    result = evaluation["split"]["test"]["protocols"]["all_items"]
    assert result["num_positives"] == 0
    assert all(metric_of(result["models"]["model"], metric) is None for metric in METRICS)
    assert evaluation["best"] == {"all_items": "model", "first_purchase": "model"}


@pytest.mark.parametrize("protocol", ["all_items", "first_purchase"])
def test_every_mean_agrees_with_ranx(world, at_random, protocol):
    counted = [
        Positive(query, f"P{item}", amount)
        for _, query, item, amount, is_repeat in world.positives
        if protocol == "all_items" or not is_repeat
    ]
    for model, lists in world.lists.items():
        named = {q: [f"P{item}" for item in items] for (q, name), items in lists.items() if name == protocol}
        expected = ranx_means(counted, named)
        for metric in METRICS:
            found = metric_of(at_random[protocol]["models"][model], metric)
            assert found == pytest.approx(expected[metric.section, metric.label], abs=1e-9), (model, metric)


def test_repeats_that_each_lead_a_list_of_their_own_make_a_basket_perfect(spark):
    bought = [(1, 10, item, 1.0, True) for item in range(1, 8)]
    world = World(bought, {"model": {(10, "all_items"): list(range(1, 8))}}, bought={(1, 1)})
    means = _evaluation(spark, world)["split"]["test"]["protocols"]["masked_seen"]["models"]["model"]
    assert means["per_basket"]["ndcg@5"] == 1


def test_no_mean_is_beyond_one(at_random):
    means = [found for result in at_random.values() for found in result["models"].values()]
    assert len(means) == len(PROTOCOLS) * 2
    assert all(0 <= metric_of(found, metric) <= 1 for found in means for metric in METRICS)


def test_basket_recall_agrees_with_its_plain_definition(world, at_random):
    baskets = {}
    for _, query, item, _, _ in world.positives:
        baskets.setdefault(query, set()).add(item)
    lists = world.lists["one"]
    expected = sum(recall_at_k(lists.get((q, "all_items"), []), basket, 20) for q, basket in baskets.items())
    found = at_random["all_items"]["models"]["one"]["per_basket"]["recall@20"]
    assert found == pytest.approx(expected / len(baskets), abs=1e-12)


def test_hits_and_causes_add_up_to_all_positives(at_random):
    for protocol in PROTOCOLS:
        result = at_random[protocol]
        for found in result["models"].values():
            counts = found["waterfall"]["causes"]
            assert min(counts.values()) >= 0
            assert found["waterfall"]["hits"] + sum(counts.values()) == result["num_positives"]
            parts = found["waterfall"]["end_to_end"]
            assert parts["retrieved"] * parts["recall_within"] == pytest.approx(parts["recall"], abs=1e-12)
            assert parts["recall"] == pytest.approx(found["per_positive"]["recall@20"], abs=1e-12)


def test_segments_of_one_kind_add_up_to_all_positives(at_random):
    for protocol in PROTOCOLS:
        for kind in ("purchase", "item", "history", "customer", "activity", "category"):
            values = at_random[protocol]["segments"][kind].values()
            assert sum(found["num_positives"] for found in values) == at_random[protocol]["num_positives"]


def test_intervals_hold_the_estimates_and_differences_are_to_the_reference(at_random):
    for protocol in PROTOCOLS:
        reference = at_random[protocol]["reference"]
        base = at_random[protocol]["models"][reference]
        for model, found in at_random[protocol]["models"].items():
            low, high = found["intervals"]["per_positive"]["recall@20"]
            assert low <= found["per_positive"]["recall@20"] <= high
            if model == reference:
                assert found["difference"] == {}
                continue
            moved = found["per_positive"]["recall@20"] - base["per_positive"]["recall@20"]
            assert found["difference"]["per_positive"]["recall@20"]["estimate"] == pytest.approx(moved, abs=1e-11)


def test_results_do_not_depend_on_partitioning(spark, world, at_random):
    spread = _evaluation(spark, world, partitions=7)["split"]["test"]["protocols"]
    assert _flat(spread) == pytest.approx(_flat(at_random), abs=1e-12)


def _flat(value, path=""):
    """Numbers of nested values by their path."""
    if isinstance(value, dict):
        return {key: number for name, inner in value.items() for key, number in _flat(inner, f"{path}/{name}").items()}
    if isinstance(value, list):
        return {
            key: number for place, inner in enumerate(value) for key, number in _flat(inner, f"{path}/{place}").items()
        }
    return {path: value} if isinstance(value, int | float) else {}
