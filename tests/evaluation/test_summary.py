from math import log2

import pytest
from ranx import Qrels, Run, evaluate

from recsys_spark.contracts.columns import K_VALUES
from recsys_spark.evaluation.ranking_metrics import METRICS, metric_of, recall_at_k
from recsys_spark.evaluation.summary import choose_best, protocol_results, shares
from recsys_spark.evaluation.sums import customer_hits, customer_totals
from tests.evaluation.worlds import World, random_world


def _results(spark, world, models=None):
    totals = customer_totals(world.facts(spark))
    return protocol_results(customer_hits(world.hits(spark)), totals, models or list(world.lists))


HAND = World(  # one customer, two baskets: {1, 2} and {3}; only item 1 was bought before
    positives=[(1, 10, 1, 6.0, True), (1, 10, 2, 2.0, False), (1, 11, 3, 2.0, False)],
    lists={"model": {(10, "all_items"): [1, 9, 2], (10, "first_purchase"): [9, 2]}},
)


def test_means_worked_by_hand(spark):
    result = _results(spark, HAND)["all_items"]
    means = result["models"]["model"]
    assert (result["num_positives"], result["num_queries"]) == (3, 2)
    assert means["per_positive"]["recall@5"] == pytest.approx(2 / 3)
    assert means["per_positive"]["ndcg@5"] == pytest.approx((1 + 1 / log2(4)) / 3)
    assert means["per_positive"]["mrr@5"] == pytest.approx((1 + 1 / 3) / 3)
    assert means["per_basket"]["recall@5"] == pytest.approx((1 + 0) / 2)
    assert means["per_basket"]["ndcg@5"] == pytest.approx((1 + 0.5) / (1 + 1 / log2(3)) / 2)
    assert means["money"]["recall@5"] == pytest.approx((6 + 2) / 10)
    assert means["money"]["ndcg@5"] == pytest.approx((6 + 2 * 0.5) / 10)


def test_first_purchase_counts_only_what_is_no_repeat(spark):
    result = _results(spark, HAND)["first_purchase"]
    assert (result["num_positives"], result["num_queries"]) == (2, 2)
    assert result["models"]["model"]["per_positive"]["ndcg@5"] == pytest.approx(1 / log2(3) / 2)


def test_a_model_without_lists_scores_zero_on_the_same_positives(spark):
    result = _results(spark, HAND, models=["model", "absent"])["all_items"]
    assert all(metric_of(result["models"]["absent"], metric) == 0 for metric in METRICS)


def test_a_split_without_positives_has_null_means(spark):
    results = _results(spark, World(positives=[], lists={"model": {}}))
    assert results["all_items"]["num_positives"] == 0
    assert all(metric_of(results["all_items"]["models"]["model"], metric) is None for metric in METRICS)
    assert choose_best(results, ["model", "other"][:1]) == {"all_items": "model", "first_purchase": "model"}


def test_shares_count_cold_customers_cold_items_and_repeats(spark):
    world = World([*HAND.positives, (2, 20, 3, 1.0, False)], HAND.lists, cold_items={3}, cold_users={2})
    assert shares(world.facts(spark)) == {
        "queries_of_cold_customers": pytest.approx(1 / 3),
        "positives_of_cold_customers": 1 / 4,
        "positives_with_cold_items": 2 / 4,
        "repeat_positives": 1 / 4,
    }


def test_the_best_model_has_the_highest_recall_at_20_on_val():
    def means(value):
        return {"per_positive": {"recall@20": value}}

    val = {"all_items": {"models": {"a": means(0.1), "b": means(0.3), "c": means(0.3)}}}
    assert choose_best(val, ["a", "b", "c"]) == {"all_items": "b"}


@pytest.mark.parametrize("protocol", ["all_items", "first_purchase"])
def test_every_mean_agrees_with_ranx(spark, protocol):
    world = random_world(num_users=60, seed=5)
    result = _results(spark, world)[protocol]
    counted = [p for p in world.positives if protocol == "all_items" or not p[4]]
    for model, lists in world.lists.items():
        expected = _with_ranx(counted, {q: items for (q, name), items in lists.items() if name == protocol})
        for metric in METRICS:
            found = metric_of(result["models"][model], metric)
            assert found == pytest.approx(expected[metric.section, metric.label], abs=1e-9), (model, metric)


def _with_ranx(positives, lists):
    """Every mean by ranx: a query per basket, then a query per positive, averaged plainly and by money."""
    run, names = {}, [f"{kind}@{k}" for kind in ("recall", "ndcg", "mrr") for k in K_VALUES]
    baskets, singles = {}, {}
    for number, (_, query, item, _, _) in enumerate(positives):
        listed = {f"P{i}": float(-rank) for rank, i in enumerate(lists.get(query, []))} or {"none": 0.0}
        baskets.setdefault(str(query), {})[f"P{item}"] = 1
        singles[f"s{number:05}"] = {f"P{item}": 1}
        run[str(query)] = run[f"s{number:05}"] = listed
    by_basket = evaluate(Qrels(baskets), Run({q: run[q] for q in baskets}), names, make_comparable=True)
    per_single = evaluate(Qrels(singles), Run({q: run[q] for q in singles}), names, return_mean=False)
    amounts = [amount for *_, amount, _ in positives]
    expected = {("per_basket", name): by_basket[name] for name in names}
    for name in names:
        expected["per_positive", name] = sum(per_single[name]) / len(positives)
        weighted = sum(value * amount for value, amount in zip(per_single[name], amounts, strict=True))
        expected["money", name] = weighted / sum(amounts)
    return expected


def test_basket_recall_agrees_with_its_plain_definition(spark):
    world = random_world(num_users=20, seed=6, models=("one",))
    baskets = {}
    for _, query, item, _, _ in world.positives:
        baskets.setdefault(query, set()).add(item)
    lists = world.lists["one"]
    expected = sum(recall_at_k(lists.get((q, "all_items"), []), basket, 20) for q, basket in baskets.items())
    found = _results(spark, world)["all_items"]["models"]["one"]["per_basket"]["recall@20"]
    assert found == pytest.approx(expected / len(baskets), abs=1e-12)


def test_results_do_not_depend_on_partitioning(spark):
    world = random_world(num_users=30, seed=7)
    facts, found = world.facts(spark), world.hits(spark)
    results = []
    for partitions in (1, 7, 64):
        sums = customer_hits(found.repartition(partitions)), customer_totals(facts.repartition(partitions))
        results.append(protocol_results(*sums, list(world.lists)))
    assert results[0] == results[1] == results[2]
