import random

import pytest

from recsys_spark.contracts.artifacts import ITEM_ID_MAP
from recsys_spark.contracts.artifacts import RANKINGS as RANKED
from recsys_spark.contracts.artifacts import RECOMMENDATIONS as RECOMMENDED
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.contracts.schemas import RANKINGS, RECOMMENDATIONS
from recsys_spark.monitoring.lists import PERSISTENCE, churn, gini, list_measures, ranked, recommended, spread_measures
from recsys_spark.monitoring.measures import DRIFTED, NOT_MEASURED
from tests.support.frames import frame, rows

CONFIG = MonitorConfig()


def rank_overlap(first, second):
    """The definition, place by place."""
    depth, p = min(len(first), len(second)), PERSISTENCE
    shared = [len(set(first[:d]) & set(second[:d])) / d for d in range(1, depth + 1)]
    return shared[-1] * p**depth + (1 - p) / p * sum(each * p**d for d, each in enumerate(shared, 1))


def slow_gini(values):
    return sum(abs(a - b) for a in values for b in values) / (2 * len(values) * sum(values))


@pytest.fixture(scope="module")
def of(spark):
    def lists(by_customer):
        listed = [(customer, None, items) for customer, items in by_customer.items()]
        return spark.createDataFrame(listed, "customer_id string, event_time timestamp, stock_codes array<string>")

    return lists


def random_lists(num, seed, of_items=200, length=20):
    chance = random.Random(seed)
    return {f"c{c}": [f"P{i}" for i in chance.sample(range(of_items), length)] for c in range(num)}


def test_overlaps_are_those_of_the_definitions(of):
    first, second = random_lists(20, 1, of_items=30), random_lists(20, 2, of_items=30, length=7)
    overlap, jaccard = churn(of(first), of(second), CONFIG)
    expected = [rank_overlap(first[c], second[c]) for c in first]
    assert overlap.value == pytest.approx(sum(expected) / 20, abs=1e-6)
    pairs = [(set(first[c]), set(second[c])) for c in first]
    assert jaccard.value == pytest.approx(sum(len(a & b) / len(a | b) for a, b in pairs) / 20, abs=1e-6)


def test_equal_lists_overlap_wholly_and_strange_ones_not_at_all(of):
    lists = random_lists(5, 1)
    same, _ = churn(of(lists), of(lists).repartition(5), CONFIG)
    assert same.value == 1
    other, jaccard = churn(of(lists), of({c: [f"Q{i}" for i in items] for c, items in lists.items()}), CONFIG)
    assert (other.value, jaccard.value, other.verdict) == (0, 0, DRIFTED)


def test_lists_of_customers_that_one_side_lacks_take_no_part(of):
    overlap, _ = churn(of({"a": ["x"], "b": ["y"]}), of({"a": ["x"], "c": ["z"]}), CONFIG)
    assert overlap.value == 1
    assert overlap.detail["lists"] == {"common": 1, "reference": 2, "current": 2}
    (nothing,) = churn(of({"a": ["x"]}), of({"b": ["x"]}), CONFIG)
    assert nothing.verdict == NOT_MEASURED


def test_an_empty_list_overlaps_with_nothing(of):
    overlap, _ = churn(of({"a": ["x"]}), of({"a": []}), CONFIG)
    assert overlap.value == 0


def test_gini_is_the_mean_difference_of_all_pairs():
    values = [0, 0, 1, 4, 4, 9]
    assert gini([(0, 2), (1, 1), (4, 2), (9, 1)]) == pytest.approx(slow_gini(values))


def test_coverage_and_gini_of_lists(of):
    lists = of({"a": ["x", "y"], "b": ["x", "z"], "c": ["x", "y"]})
    coverage, evenness = spread_measures(lists, lists.repartition(4), 5, 5, CONFIG)
    assert coverage.detail == {"reference": 0.6, "current": 0.6}
    assert evenness.detail["reference"] == pytest.approx(slow_gini([0, 0, 1, 2, 3]), abs=1e-6)
    assert (coverage.value, evenness.value) == (0, 0)


def test_lists_that_became_the_same_for_all_are_found_by_what_they_cover(of):
    lists = random_lists(60, 1)
    measures = spread_measures(of(lists), of(dict.fromkeys(lists, lists["c0"])), 200, 200, CONFIG)
    assert [measure.verdict for measure in measures] == [DRIFTED, DRIFTED]


def test_replaced_lists_that_cover_as_much_are_found_by_their_overlap_alone(of):
    lists = random_lists(60, 1)
    names = [*lists]
    turned = {customer: lists[names[place - 1]] for place, customer in enumerate(names)}
    measures = [*spread_measures(of(lists), of(turned), 200, 200, CONFIG), *churn(of(lists), of(turned), CONFIG)]
    assert [measure.name for measure in measures if measure.verdict == DRIFTED] == ["rank_overlap"]


def test_lists_come_from_recommendations_and_rankings(spark):
    places = [{"customer_id": "a", "rank": rank, "stock_code": f"P{rank}"} for rank in (3, 1, 2)]
    listed = recommended(frame(spark, RECOMMENDATIONS, places), k=2)
    assert rows(listed, "customer_id", "stock_codes") == [("a", ["P1", "P2"])]
    given = {"query_id": 1, "customer_id": "a", "event_time": "2011-01-05", "stock_codes": ["x", "y", "z"]}
    two = [{**given, "protocol": "all_items"}, {**given, "protocol": "first_purchase"}]
    assert rows(ranked(frame(spark, RANKINGS, two), k=2), "stock_codes") == [(["x", "y"],)]


class ListsOfOneKind:
    """A run of lists alone, each of whose 40 customers has its own neighbourhood of 60 products."""

    def __init__(self, spark, artifact, length):
        lists = {f"c{c}": [f"P{(c + place) % 60}" for place in range(length)] for c in range(40)}
        given = {"query_id": 1, "event_time": "2011-01-05", "protocol": "all_items"}
        self._tables = {
            ITEM_ID_MAP: frame(spark, ITEM_ID_MAP.schema, [{"item_idx": n, "stock_code": f"P{n}"} for n in range(60)]),
            RECOMMENDED: frame(
                spark,
                RECOMMENDATIONS,
                [
                    {"customer_id": customer, "rank": rank, "stock_code": code}
                    for customer, items in lists.items()
                    for rank, code in enumerate(items, 1)
                ],
            ),
            RANKED: frame(
                spark, RANKINGS, [{**given, "customer_id": name, "stock_codes": items} for name, items in lists.items()]
            ),
        }
        self._kind = artifact

    def has(self, artifact, **_):
        return artifact == self._kind

    def best_model(self, _):
        return "own"

    def table(self, artifact, **_):
        return self._tables[artifact]


@pytest.mark.parametrize("artifact", [RECOMMENDED, RANKED])
def test_lists_that_became_longer_are_compared_where_both_have_places(spark, artifact):
    shorter, longer = (ListsOfOneKind(spark, artifact, length) for length in (10, 20))
    for pair in ((shorter, longer), (longer, shorter)):
        found = {measure.name: measure for measure in list_measures(*pair, CONFIG)}
        assert {name: measure.value for name, measure in found.items()} == {
            "coverage": 0,
            "gini": 0,
            "rank_overlap": 1,
            "jaccard": 1,
        }


def test_a_run_that_lists_nothing_is_found(spark):
    pair = (ListsOfOneKind(spark, RECOMMENDED, length) for length in (10, 0))
    found = {measure.name: measure for measure in list_measures(*pair, CONFIG)}
    assert (found["coverage"].value, found["coverage"].verdict) == (1, DRIFTED)
