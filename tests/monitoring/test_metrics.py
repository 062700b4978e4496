import pytest

from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.evaluation.ranking_metrics import HEADLINE
from recsys_spark.monitoring.measures import DRIFTED, NOT_MEASURED, OK
from recsys_spark.monitoring.metrics import WATCHED, loss, metric_measures, unpaired
from tests.evaluation.test_compare import RunInMemory
from tests.evaluation.worlds import World, random_world

CONFIG = MonitorConfig()
REPLICATES = EvaluationConfig(replicates=200)


class Evaluated(RunInMemory):
    def has(self, artifact, **keys):
        return True


@pytest.fixture(scope="module")
def world():
    """A model whose lists begin with what is bought, so that losing it is a loss."""
    found = random_world(num_users=30, seed=5)
    for query in {query for _, query, *_ in found.positives}:
        bought = [(item, repeat) for _, q, item, _, repeat in found.positives if q == query]
        found.lists["one"][query, "all_items"] = [item for item, _ in bought]
        found.lists["one"][query, "first_purchase"] = [item for item, repeat in bought if not repeat]
    return found


def measures_of(spark, world, second):
    runs = Evaluated(spark, world, "one"), Evaluated(spark, second, "one")
    return metric_measures(*runs, CONFIG, REPLICATES, seed=1)[0]


def test_equal_runs_lose_nothing(spark, world):
    measures = measures_of(spark, world, world)
    assert len(measures) == 2 * len(WATCHED)
    assert {(measure.value, measure.verdict) for measure in measures} == {(0, OK)}


def test_a_metric_that_dropped_is_found(spark, world):
    worse = {key: items[len(items) // 2 :] for key, items in world.lists["one"].items()}
    second = World(world.positives, {"one": worse, "two": world.lists["two"]}, world.cold_items, world.bought)
    assert {measure.verdict for measure in measures_of(spark, world, second)} == {DRIFTED}


def test_a_loss_counts_only_where_its_interval_lies_below_zero():
    def verdict(second, high):
        return loss("all_items", HEADLINE, (0.20, second), [second - 0.2, -0.1, high], "here", CONFIG).verdict

    assert verdict(0.18, -0.001) == DRIFTED
    assert verdict(0.18, 0.001) == OK
    assert verdict(0.195, -0.001) == OK
    assert loss("all_items", HEADLINE, (None, 0.1), [0, 0, 0], "here", CONFIG).verdict == NOT_MEASURED


def test_runs_on_baskets_of_their_own_are_held_by_intervals_that_part():
    def evaluation(value):
        means = {metric.label: value for metric in WATCHED}
        bounds = {metric.label: [value - 0.01, value + 0.01] for metric in WATCHED}
        model = {"per_positive": means, "money": means, "intervals": {"per_positive": bounds, "money": bounds}}
        protocols = {protocol: {"models": {"one": model}} for protocol in ("all_items", "first_purchase")}
        return {"best": dict.fromkeys(protocols, "one"), "split": {"test": {"protocols": protocols}}}

    assert {m.verdict for m in unpaired(evaluation(0.2), evaluation(0.185), CONFIG)} == {OK}
    assert {m.verdict for m in unpaired(evaluation(0.2), evaluation(0.17), CONFIG)} == {DRIFTED}
