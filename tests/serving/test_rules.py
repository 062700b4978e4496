"""A server applies the rules of the business, from its bundle, and takes changed tables over."""

from __future__ import annotations

import pytest

from recsys_spark.contracts.errors import ConfigError
from recsys_spark.serving.answers import Wish, basket_of, for_basket, for_customer, most_popular, similar_to
from recsys_spark.serving.plan import plan_of
from recsys_spark.serving.prepare import prepare
from recsys_spark.serving.state import State
from recsys_spark.storage import Storage
from tests.serving.worlds import held_here, served

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, object]:
    """B2 is out of stock, D4 was in season until the 10th, and A1 is not for acme."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "stock.csv").write_text("stock_code,stock,to\nB2,0,\nD4,3,2011-01-10\n", encoding="utf-8")
    (folder / "not.csv").write_text("customer_id,stock_code\nacme,A1\n", encoding="utf-8")
    return {"eligibility.table": folder / "stock.csv", "customer_exclusions": folder / "not.csv"}


@pytest.fixture(scope="module")
def ruled(run_root, tables):
    """What is served of the run under the tables."""
    return served(run_root, *(f"recommend.{key}={path}" for key, path in tables.items()))


@pytest.fixture(scope="module")
def state(spark, run_root, ruled) -> State:
    return State.open(prepare(ruled, Storage(str(run_root), spark)), ruled, "first")


def codes(products) -> list[str]:
    return [product.stock_code for product in products]


def test_lists_leave_out_what_tables_bar_at_the_moment_and_what_is_not_for_the_customer(state):
    acme, other = (state.customers.find(name) for name in ("acme", "zed"))
    assert set(codes(for_customer(state, acme, Wish(5)))) == {"C3", "ع 5"}
    assert set(codes(for_customer(state, other, Wish(5)))) == {"A1", "C3", "ع 5"}
    assert codes(for_customer(state, other, Wish(5)))[0] == "ع 5"
    assert codes(for_customer(state, other, Wish(5, "first_purchase"))) == ["A1", "C3"]


def test_baskets_fallbacks_and_similar_products_obey_the_rules_for_everybody(state):
    items, quantities, _ = basket_of(state, [("C3", 1.0)])
    assert set(codes(for_basket(state, items, quantities, Wish(5)))) == {"A1", "C3", "ع 5"}
    assert codes(most_popular(state, 5))[0] == "A1"
    assert set(codes(most_popular(state, 5))) == {"A1", "C3", "ع 5"}
    assert similar_to(state, state.items.find("B2"), 5) == []  # no ItemKNN among the models


def test_groups_have_their_places_in_a_served_list(spark, run_root):
    plan = served(run_root, "recommend.max_per_category=1")
    state = State.open(prepare(plan, Storage(str(run_root), spark)), plan, "first")
    listed = codes(for_customer(state, state.customers.find("bolt/../etc"), Wish(5)))
    assert len({"B2", "C3"} & set(listed)) == 1  # both are flags
    assert set(listed) >= {"A1", "D4", "ع 5"}  # products without a category have no limit


def test_a_bundle_is_of_its_rules_and_what_a_request_says_is_not_in_it(run_root, ruled, tables):
    storage = Storage(str(run_root))
    digest = plan_of(ruled, storage).digest
    pairs = [f"recommend.{key}={path}" for key, path in tables.items()]
    for pair, is_same in (
        ("top_n=3", True),
        ("share_new=0.5", True),
        ("max_per_brand=2", False),
        ("min_price=1", False),
    ):
        assert (plan_of(served(run_root, *pairs, f"recommend.{pair}"), storage).digest == digest) == is_same, pair
    assert plan_of(served(run_root), storage).digest != digest


def test_a_table_that_changed_is_taken_over_and_one_that_is_gone_leaves_what_is_served(
    spark, run_root, tables, ruled, state
):
    made = []

    def make() -> None:
        made.append(prepare(ruled, Storage(str(run_root), spark)))

    reloader = held_here(ruled, make)
    assert reloader.held.card.digest == state.card.digest
    assert not reloader.refresh()
    stock = tables["eligibility.table"]
    before = stock.read_text(encoding="utf-8")
    stock.write_text("stock_code,stock,to\nB2,7,\nD4,3,2011-01-10\n", encoding="utf-8")
    assert reloader.refresh()
    assert len(made) == 1
    assert codes(most_popular(reloader.held.state, 1)) == ["B2"]
    stock.unlink()
    assert not reloader.refresh()
    assert "does not exist" in reloader.last_error
    assert codes(most_popular(reloader.held.state, 1)) == ["B2"]
    with pytest.raises(ConfigError, match="does not exist"):
        plan_of(ruled, Storage(str(run_root)))
    stock.write_text(before, encoding="utf-8")
