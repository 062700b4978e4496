from datetime import datetime, timedelta

import pytest

from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.contracts.schemas import (
    CUSTOMER_ID_MAP,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    POSITIVE_RANKS,
    RECOMMENDATIONS,
    SEQUENCES,
)
from recsys_spark.monitoring.measures import DRIFTED, OK
from recsys_spark.monitoring.money import (
    captured_change,
    captured_of_lines,
    captured_of_positives,
    most_popular,
    uplift,
    weekly_sums,
)
from tests.support.frames import column, frame

CONFIG = MonitorConfig()
MONDAY = datetime(2011, 1, 3, 9)
MONEY = "customer_id string, time timestamp, captured double, popular double, total double"


@pytest.fixture(scope="module")
def of(spark):
    """Every customer spends 10 a week for three weeks; of that the lists and the popularity list hold given parts."""

    def bought(captured, popular, num_customers=80):
        spent = [
            (f"c{customer}", MONDAY + timedelta(weeks=week), float(captured + customer % 3), float(popular), 10.0)
            for customer in range(num_customers)
            for week in range(3)
        ]
        return spark.createDataFrame(spent, MONEY)

    return bought


def test_money_by_hand(spark):
    lines = [
        {"customer_id": "a", "stock_code": "x", "invoice_date": MONDAY, "line_amount": 5},
        {"customer_id": "a", "stock_code": "y", "invoice_date": MONDAY, "line_amount": 3},
        {"customer_id": "b", "stock_code": "x", "invoice_date": MONDAY + timedelta(days=7), "line_amount": 2},
        {"customer_id": "new", "stock_code": "z", "invoice_date": MONDAY, "line_amount": 10},
    ]
    listed = [
        {"customer_id": "a", "rank": 1, "stock_code": "y"},
        {"customer_id": "a", "rank": 2, "stock_code": "x"},  # beyond the top 1
        {"customer_id": "b", "rank": 1, "stock_code": "x"},
    ]
    popular = spark.createDataFrame([("z",)], "stock_code string")
    lists = frame(spark, RECOMMENDATIONS, listed)
    sums = weekly_sums({"new": captured_of_lines(frame(spark, INTERACTIONS_CLEAN, lines), lists, popular, 1)}, 100, 1)
    assert {key: values[0].tolist() for key, values in sums.items()} == {
        ("new", "2011-01-03"): [3, 10, 18],
        ("new", "2011-01-10"): [2, 0, 2],
        ("new", "all"): [5, 10, 20],
    }
    measure = uplift(sums, "new", CONFIG, prefix="new_")
    assert (measure.name, measure.value, measure.verdict) == ("new_uplift", -0.25, DRIFTED)
    assert [week["week"] for week in measure.detail["weeks"]["new"]] == ["2011-01-03", "2011-01-10"]
    assert measure.detail["weeks"]["new"][0]["captured"] == pytest.approx(3 / 18, abs=1e-6)


def test_money_behind_the_end_of_the_test_does_not_count(spark):
    class Run:
        end = None

        def table(self, artifact, **_):
            weeks = [MONDAY, MONDAY + timedelta(weeks=1)]
            keys = [{"query_id": n, "pos_item_idx": 1, "user_idx": 1} for n in (1, 2)]
            return {
                "sequences": frame(
                    spark,
                    SEQUENCES,
                    [{**k, "event_time": t, "line_amount": 5.0} for k, t in zip(keys, weeks, strict=True)],
                ),
                "positive_ranks": frame(
                    spark, POSITIVE_RANKS, [{**k, "protocol": "all_items", "rank": 1} for k in keys]
                ),
                "customer_id_map": frame(spark, CUSTOMER_ID_MAP, [{"user_idx": 1, "customer_id": "a"}]),
            }[artifact.name]

        def test_end(self):
            return self.end

    run = Run()
    assert column(captured_of_positives(run, "ease", 20), "captured") == [5, 5]
    run.end = MONDAY.isoformat()
    assert column(captured_of_positives(run, "ease", 20), "captured") == [5]


def test_the_most_popular_products_have_most_events_and_ties_go_by_index(spark):
    counts = [{"item_idx": i, "num_events": n} for i, n in ((1, 5), (2, 9), (3, 5), (4, 1))]
    ids = [{"item_idx": i, "stock_code": f"P{i}"} for i in range(1, 5)]
    found = most_popular(frame(spark, ITEM_POPULARITY, counts), frame(spark, ITEM_ID_MAP, ids), 2)
    assert sorted(column(found, "stock_code")) == ["P1", "P2"]


def test_the_same_money_captured_raises_no_alarm(of):
    sums = weekly_sums({"reference": of(4, 2), "current": of(4, 2).repartition(5)}, 200, 1)
    measure = captured_change(sums, CONFIG)
    assert (measure.value, measure.verdict, measure.detail["interval"]) == (0, OK, [0, 0])
    assert uplift(sums, "current", CONFIG).verdict == OK


def test_money_that_is_no_longer_captured_is_found(of):
    sums = weekly_sums({"reference": of(4, 1), "current": of(2, 1)}, 200, 1)
    assert captured_change(sums, CONFIG).verdict == DRIFTED
    assert uplift(sums, "current", CONFIG).verdict == OK
    below = weekly_sums({"reference": of(4, 1), "current": of(0, 3)}, 200, 1)
    assert uplift(below, "current", CONFIG).verdict == DRIFTED


def test_a_loss_that_may_be_chance_raises_no_alarm(spark):
    """Three customers of whom one buys nothing that is listed, once the other way round."""
    before = [("a", MONDAY, 8.0, 1.0, 10.0), ("b", MONDAY, 8.0, 1.0, 10.0), ("c", MONDAY, 0.0, 1.0, 10.0)]
    after = [("a", MONDAY, 0.0, 1.0, 10.0), ("b", MONDAY, 2.0, 1.0, 10.0), ("c", MONDAY, 9.0, 1.0, 10.0)]
    sides = {"reference": spark.createDataFrame(before, MONEY), "current": spark.createDataFrame(after, MONEY)}
    measure = captured_change(weekly_sums(sides, 200, 1), CONFIG)
    assert measure.value > CONFIG.thresholds.money_drop
    assert measure.detail["interval"][1] > 0
    assert measure.verdict == OK
