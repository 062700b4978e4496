import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from jobs import evaluate
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.contracts.config import BaselinesConfig, EvaluationConfig, PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.ranker_config import TWO_STAGE
from recsys_spark.contracts.retriever_config import RetrieverConfig
from tests.evaluation.worlds import CUTOFF, NUM_ITEMS, random_world, time_of
from tests.support.frames import frame
from tests.support.memory_io import MemoryIO

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "evaluation.schema.json"
MODELS = ("popularity", "personal_frequency")
TOWER = "two_tower_first"
CONFIG = PipelineConfig(
    baselines=BaselinesConfig(models=MODELS),
    retriever=RetrieverConfig(towers=("first",)),
    evaluation=EvaluationConfig(replicates=100, diversity_queries=5),
)


RANKED = (*CONFIG.baselines.ranked, TOWER, TWO_STAGE)


def candidates(spark, world):
    """Of every query the first items of its list, and one that is in none."""
    rows = [
        {"query_id": query, "items": [*items[:9], NUM_ITEMS + 1]}
        for (query, protocol), items in world.lists[TWO_STAGE].items()
        if protocol == "all_items"
    ]
    return frame(spark, CANDIDATES, rows)


@pytest.fixture(scope="module")
def world():
    return random_world(num_users=8, seed=3, models=RANKED)


def evaluated(spark, world, val_end: str, config: PipelineConfig):
    """Both splits see the same world; only the cutoffs differ."""
    frames = world.frames(spark)
    cutoffs = {"fold_end": "2011-01-01T00:00:00", "train_end": CUTOFF.isoformat(), "val_end": val_end}
    io = MemoryIO(spark).give(artifacts.SPLIT_CUTOFFS, cutoffs)
    io.give(artifacts.INTERACTIONS_CLEAN, frames.interactions).give(artifacts.ITEMS_CLEAN, frames.items)
    io.give(artifacts.CUSTOMER_ID_MAP, frames.customer_id_map).give(artifacts.ITEM_ID_MAP, frames.item_id_map)
    for fit, split in artifacts.SPLIT_OF_FIT.items():
        io.give(artifacts.SEQUENCES, frames.sequences, split=split)
        io.give(artifacts.ITEM_POPULARITY, frames.popularity, fit=fit)
        io.give(artifacts.CANDIDATES, candidates(spark, world), split=split)
        for model in RANKED:
            io.give(artifacts.POSITIVE_RANKS, frames.ranks[model], model=model, split=split)
            io.give(artifacts.RANKINGS, frames.rankings[model], model=model, split=split)
    evaluate.run(io, config)
    return io.held[artifacts.EVALUATION.path_of()]


@pytest.fixture(scope="module")
def evaluation(spark, world):
    return evaluated(spark, world, "2011-03-01T00:00:00", CONFIG)


def test_the_job_scores_both_splits_and_names_the_best_models(world, evaluation):
    assert set(evaluation["split"]) == {"val", "test"}
    assert set(evaluation["best"]) == {"all_items", "first_purchase"}
    assert set(evaluation["best"].values()) <= {*MODELS, TOWER, TWO_STAGE}
    assert set(evaluation["best_single"].values()) <= {*MODELS, TOWER}
    # All positives lie before val_end, so they count in val and none of them in test.
    counts = {split: found["protocols"]["all_items"]["num_positives"] for split, found in evaluation["split"].items()}
    assert counts == {"val": len(world.positives), "test": 0}


def test_positives_after_test_end_do_not_count(spark, world):
    times = sorted(time_of(query) for _, query, *_ in world.positives)
    last = times[len(times) // 2]
    settings = replace(CONFIG.evaluation, test_end=last.isoformat())
    found = evaluated(spark, world, CUTOFF.isoformat(), replace(CONFIG, evaluation=settings))
    counted = sum(each <= last for each in times)
    assert 0 < counted < len(times)
    assert found["split"]["test"]["protocols"]["all_items"]["num_positives"] == counted


def test_a_test_that_ends_where_val_does_is_refused(spark):
    io = MemoryIO(spark).give(artifacts.SPLIT_CUTOFFS, {"val_end": "2011-03-01T00:00:00.000000"})
    ended = replace(CONFIG, evaluation=replace(CONFIG.evaluation, test_end="2011-03-01"))
    with pytest.raises(ConfigError, match=r"evaluation\.test_end must lie after the end of val, 2011-03-01"):
        evaluate.run(io, ended)


def test_the_result_fits_the_published_schema(evaluation):
    jsonschema.validate(json.loads(json.dumps(evaluation)), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_a_first_order_counts_in_the_split_it_lies_in(world, evaluation):
    customers = {user for user, *_ in world.positives}
    early = {user for user, _ in world.bought}
    assert evaluation["split"]["val"]["first_orders_without_query"] == len(customers - early)
    assert evaluation["split"]["test"]["first_orders_without_query"] == 0


def test_two_stages_reach_what_is_a_candidate_or_ranked_behind_them(world, evaluation):
    found = evaluation["split"]["val"]["protocols"]["all_items"]["models"][TWO_STAGE]["waterfall"]
    reached = 0
    for _, query, item, _, _ in world.positives:
        listed = world.lists[TWO_STAGE].get((query, "all_items"), [])
        reached += item in listed and item not in world.cold_items
    hits_on_cold = sum(
        item in world.lists[TWO_STAGE].get((query, "all_items"), [])[:20]
        for _, query, item, _, _ in world.positives
        if item in world.cold_items
    )
    assert found["end_to_end"]["retrieved"] == pytest.approx((reached + hits_on_cold) / len(world.positives))
    assert found["hits"] + sum(found["causes"].values()) == len(world.positives)
