import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsys_spark.contracts.artifacts import ARTIFACTS, RANKER_FEATS
from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.evaluation.compare import compare_runs
from recsys_spark.evaluation.console import WIDTH, comparison_table
from recsys_spark.evaluation.protocols import PROTOCOLS
from recsys_spark.evaluation.runs import Run, what_differs
from recsys_spark.manifest import Manifest
from tests.evaluation.worlds import CUTOFF, World, random_world, time_of

CONFIG = EvaluationConfig(replicates=100)


@dataclass(frozen=True)
class RunInMemory:
    """A run whose artifacts are those of a world."""

    spark: SparkSession
    world: World
    best: str
    end: str | None = None

    def table(self, artifact, **keys):
        frames = self.world.frames(self.spark)
        return {
            "sequences": frames.sequences,
            "interactions_clean": frames.interactions,
            "customer_id_map": frames.customer_id_map,
            "item_id_map": frames.item_id_map,
            "items_clean": frames.items,
            "item_popularity": frames.popularity,
            "positive_ranks": frames.ranks.get(keys.get("model")),
        }[artifact.name]

    def evaluation(self):
        return {"best": {"all_items": self.best, "first_purchase": self.best}}

    def cutoffs(self):
        return {"val_end": CUTOFF.isoformat()}

    def models(self):
        return list(self.world.lists)

    def manifests(self):
        return {}

    def test_end(self):
        return self.end


@pytest.fixture(scope="module")
def world():
    return random_world(num_users=40, seed=11)


@pytest.fixture(scope="module")
def comparison(spark, world):
    """The second run has model `two` under the name `one`, lacks the last ten positives, and has a third model."""
    lists = {"one": world.lists["two"], "three": world.lists["one"]}
    second = World(world.positives[:-10], lists, world.cold_items, world.bought)
    return compare_runs(RunInMemory(spark, world, "one"), RunInMemory(spark, second, "three"), CONFIG, seed=1)


def test_only_common_positives_are_compared(world, comparison):
    num = len(world.positives)
    assert comparison["positives"] == {"first": num, "second": num - 10, "common": num - 10}


def test_each_runs_test_ends_where_its_evaluation_ended_it(spark, world):
    end = sorted(time_of(query) for _, query, *_ in world.positives)[len(world.positives) // 2]
    early = sum(time_of(query) <= end for _, query, *_ in world.positives)
    first, second = RunInMemory(spark, world, "one", end.isoformat()), RunInMemory(spark, world, "one")
    found = compare_runs(first, second, CONFIG, seed=1)
    assert found["positives"] == {"first": early, "second": len(world.positives), "common": early}
    assert 0 < early < len(world.positives)


def test_models_of_both_runs_and_the_best_ones_are_paired(comparison):
    for protocol in PROTOCOLS:
        assert set(comparison["protocols"][protocol]) == {"one", "best"}
    best = comparison["protocols"]["all_items"]["best"]
    assert (best["first"], best["second"]) == ("one", "three")


def test_the_same_lists_under_another_name_do_not_differ(comparison):
    for protocol in PROTOCOLS:
        found = comparison["protocols"][protocol]["best"]["per_positive"]["recall@20"]
        assert found["estimate"] == 0
        assert found["interval"] == [0, 0]
        assert found["p_value"] == 1


def test_differences_are_those_of_the_means_on_the_common_positives(world, comparison):
    positives = world.positives[:-10]

    def recall(model):
        lists = world.lists[model]
        return sum(item in lists.get((q, "all_items"), [])[:20] for _, q, item, _, _ in positives) / len(positives)

    found = comparison["protocols"]["all_items"]["one"]["per_positive"]["recall@20"]
    assert found["first"] == pytest.approx(recall("one"), abs=1e-12)
    assert found["estimate"] == pytest.approx(recall("two") - recall("one"), abs=1e-12)
    assert found["interval"][0] <= found["estimate"] <= found["interval"][1]


def test_segments_are_compared_too(comparison):
    segments = comparison["protocols"]["all_items"]["one"]["segments"]
    assert set(segments) == {"purchase", "item", "history", "customer", "activity", "category"}
    assert {"num_positives", "recall@20"} <= set(segments["purchase"]["repeat"])


def test_the_table_fits_the_terminal(comparison):
    wide = {**comparison, "what_differs": {"config": {"a.key." + "x" * 90: [1, 2]}}}
    assert max(len(line) for line in comparison_table(wide).splitlines()) <= WIDTH


def test_runs_without_common_positives_are_refused(spark):
    lists = {"one": {}}
    first = World([(1, 1_000_001, 3, 1.0, False)], lists)
    second = World([(2, 2_000_001, 3, 1.0, False)], lists)
    with pytest.raises(DataError, match="no test positive in common"):
        compare_runs(RunInMemory(spark, first, "one"), RunInMemory(spark, second, "one"), CONFIG, seed=1)


def test_every_artifact_of_a_run_is_looked_for():
    class NoManifests:
        def __init__(self):
            self.looked_for = []

        def manifest(self, label):
            self.looked_for.append(label)

        def read_json(self, label):
            return {"split": {"test": {"protocols": {"all_items": {"models": {"one": {}}}}}}}

    storage = NoManifests()
    assert Run(storage).manifests() == {}
    patterns = [re.sub(r"\\{\w+\\}", "\\\\w+", re.escape(artifact.path)) for artifact in ARTIFACTS.values()]
    assert all(any(re.fullmatch(pattern, label) for label in storage.looked_for) for pattern in patterns)
    parts = ("train", "dev", "val", "test", "forced_val", "forced_test")
    assert {RANKER_FEATS.path_of(part=part) for part in parts} <= set(storage.looked_for)


def test_the_end_of_the_test_is_that_of_the_runs_evaluation():
    class OneManifest:
        def __init__(self, config):
            self.config = config

        def manifest(self, _label):
            return None if self.config is None else _manifest(config=self.config)

    configs = [{"evaluation": {"test_end": "2011-05-01"}}, {"evaluation": {"test_end": None}}, {}, None]
    assert [Run(OneManifest(config)).test_end() for config in configs] == ["2011-05-01", None, None, None]


def _manifest(**changes: Any) -> Manifest:
    plain = Manifest("queries", "table", "sequences", None, 10, 1, "10-aa", ())
    return replace(plain, **changes)


def test_what_differs_names_config_keys_sources_and_rows():
    first = _manifest(config={"queries": {"hist_max": 5, "max_positives": 9}}, inputs={"source:a.csv": "1", "raw": "x"})
    second = _manifest(
        config={"queries": {"hist_max": 7, "max_positives": 9}}, inputs={"source:a.csv": "2", "raw": "y"}, rows=11
    )
    found = what_differs({"queries": first}, {"queries": second, "extra": _manifest(stage="extra", seed=3)})
    assert found["config"] == {"queries.hist_max": [5, 7]}
    assert found["sources"] == {"a.csv": ["1", "2"]}
    assert found["rows"] == {"queries": ["10 rows, 10-aa", "11 rows, 10-aa"], "extra": [None, "10 rows, 10-aa"]}
    assert found["seeds"] == {"extra": [None, 3]}
    assert what_differs({"queries": first}, {"queries": first}) == {kind: {} for kind in found}
