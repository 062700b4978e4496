from datetime import datetime, timedelta

import numpy as np
import pytest

from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.contracts.schemas import CUSTOMER_ID_MAP, INTERACTIONS_CLEAN, ITEM_ID_MAP
from recsys_spark.monitoring.lines import latest, line_measures, price_levels, unknown_measures, windows
from recsys_spark.monitoring.measures import DRIFTED, NOT_MEASURED
from tests.support.frames import column, frame
from tests.support.worlds import interactions

CONFIG = MonitorConfig()
START = datetime(2011, 1, 3)
CATEGORIES = ("CUPS", "LAMPS", "PLATES")


def lines(num_customers=300, seed=1, prices=None, prefix="c", days=60):
    """Twelve lines for each customer; the price of product i is 1 + i / 10, times that of its category in `prices`."""
    chance = np.random.default_rng(seed)
    rows = []
    for customer in range(num_customers):
        for day, item, quantity in zip(
            chance.integers(0, days, 12), chance.permutation(30)[:12], chance.integers(1, 9, 12), strict=True
        ):
            category = CATEGORIES[item % 3]
            price = (1 + item / 10) * (prices or {}).get(category, 1)
            rows.append(
                {
                    "customer_id": f"{prefix}{customer}",
                    "stock_code": f"P{item}",
                    "category": category,
                    "invoice_date": START + timedelta(days=int(day), hours=9),
                    "quantity": int(quantity),
                    "price": float(price),
                    "line_amount": round(float(quantity * price), 4),
                }
            )
    return rows


@pytest.fixture(scope="module")
def of(spark):
    return lambda rows: frame(spark, INTERACTIONS_CLEAN, rows)


def alarms(measures):
    return {measure.name for measure in measures if measure.verdict == DRIFTED}


def test_a_reshuffled_copy_and_another_sample_raise_no_alarm(of):
    reference = of(lines())
    assert alarms(line_measures(reference, of(lines()[::-1]).repartition(5), CONFIG)) == set()
    assert alarms(line_measures(reference, of(lines(seed=2)), CONFIG)) == set()
    assert alarms(line_measures(reference, of(lines(num_customers=20, seed=3)), CONFIG)) == set()


def test_a_category_that_costs_three_times_as_much_is_found_by_its_price(of):
    measures = line_measures(of(lines()), of(lines(prices={"LAMPS": 3})), CONFIG)
    assert {"price_level", "psi.price"} <= alarms(measures) <= {"price_level", "psi.price", "psi.line_amount"}
    (level,) = [measure for measure in measures if measure.name == "price_level"]
    assert level.value == pytest.approx(np.log(3), abs=1e-6)
    assert "LAMPS" in level.sentence
    assert level.detail["categories"] == pytest.approx({"CUPS": 0, "LAMPS": np.log(3), "PLATES": 0}, abs=1e-6)


def test_prices_are_compared_like_for_like(of):
    """Dearer products sell more, but none changed its price."""
    dear = [row for row in lines() if row["price"] > 2.5]
    assert price_levels(of(lines()), of(dear), CONFIG).value == 0


def test_quantities_categories_and_baskets_are_found_by_their_own_measures(of):
    tenfold = [{**row, "quantity": row["quantity"] * 10} for row in lines()]
    assert alarms(line_measures(of(lines()), of(tenfold), CONFIG)) == {"psi.quantity"}
    renamed = [{**row, "category": "NEW" if row["category"] == "CUPS" else row["category"]} for row in lines()]
    assert "psi.category" in alarms(line_measures(of(lines()), of(renamed), CONFIG))
    one_day = [{**row, "invoice_date": START + timedelta(days=int(row["customer_id"][1:]) % 60)} for row in lines()]
    assert alarms(line_measures(of(lines()), of(one_day), CONFIG)) == {"psi.lines_per_day"}


def test_purchases_that_moved_to_one_weekday_are_found(of):
    mondays = [{**row, "invoice_date": START + timedelta(weeks=day % 8)} for day, row in enumerate(lines())]
    assert "psi.weekday" in alarms(line_measures(of(lines()), of(mondays), CONFIG))


def test_weekdays_of_a_few_days_are_not_measured(of):
    measures = line_measures(of(lines()), of(lines(days=3)), CONFIG)
    (weekday,) = [measure for measure in measures if measure.name == "psi.weekday"]
    assert weekday.verdict == NOT_MEASURED


def test_nothing_is_measured_without_lines(of):
    (measure,) = line_measures(of(lines()), of([]), CONFIG)
    assert measure.verdict == NOT_MEASURED


def test_new_customers_are_found_and_known_ones_are_not(spark, of):
    customers = frame(spark, CUSTOMER_ID_MAP, [{"user_idx": i + 1, "customer_id": f"c{i}"} for i in range(300)])
    items = frame(spark, ITEM_ID_MAP, [{"item_idx": i + 1, "stock_code": f"P{i}"} for i in range(30)])
    assert alarms(unknown_measures(of(lines()), customers, items, CONFIG)) == set()
    half_new = of(lines(num_customers=150) + lines(num_customers=150, prefix="new", seed=2))
    found = unknown_measures(half_new, customers, items, CONFIG)
    assert alarms(found) == {"customers"}
    assert found[0].detail["shares"]["ids"] == 0.5
    assert found[0].detail["shares"]["lines"] == 0.5
    assert found[1].value == 0


def test_unknown_shares_are_of_the_money(spark):
    bought = interactions(spark, [("a", "x", 1), ("b", "x", 1)]).unionByName(
        interactions(spark, [("c", "y", 2)], line_amount=6)
    )
    known = frame(spark, CUSTOMER_ID_MAP, [{"user_idx": 1, "customer_id": "a"}])
    items = frame(spark, ITEM_ID_MAP, [{"item_idx": 1, "stock_code": "x"}])
    customers, products = unknown_measures(bought, known, items, CONFIG)
    assert customers.value == 0.8
    assert customers.detail["shares"] == pytest.approx({"money": 0.8, "lines": 2 / 3, "ids": 2 / 3}, abs=1e-6)
    assert products.value == 0.6


def test_a_newer_run_is_held_by_its_newer_lines_and_an_equal_one_by_its_last(spark):
    old = interactions(spark, [("a", "x", day) for day in range(100)])
    newer = interactions(spark, [("a", "x", day) for day in range(104)])
    before, behind = windows(old, newer, days=10)
    assert (before.count(), behind.count()) == (10, 4)
    before, same = windows(old, old, days=10)
    assert sorted(column(before, "invoice_date")) == sorted(column(same, "invoice_date"))
    assert latest(old, 3).count() == 3
