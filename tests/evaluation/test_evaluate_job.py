from datetime import datetime

from jobs import evaluate
from recsys_spark.contracts import schemas
from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    EVALUATION,
    INTERACTIONS_CLEAN,
    ITEM_POPULARITY,
    POSITIVE_RANKS,
    SEQUENCES,
    SPLIT_CUTOFFS,
)
from recsys_spark.contracts.config import BaselinesConfig, PipelineConfig
from tests.evaluation.worlds import random_world
from tests.support.frames import frame
from tests.support.memory_io import MemoryIO

MODELS = ("popularity", "personal_frequency")
CUTOFFS = {"fold_end": "2011-01-01T00:00:00", "train_end": "2011-02-01T00:00:00", "val_end": "2011-03-01T00:00:00"}


def _io(spark, world):
    """Customer 1 buys first in January, every other customer in late February: cold on val, warm on test."""
    users = sorted({user for user, *_ in world.positives})
    early, late = datetime(2011, 1, 5), datetime(2011, 2, 28)
    bought = [{"customer_id": f"C{user}", "invoice_date": early if user == 1 else late} for user in users]
    ids = frame(spark, schemas.CUSTOMER_ID_MAP, [{"user_idx": user, "customer_id": f"C{user}"} for user in users])
    io = (
        MemoryIO(spark)
        .give(INTERACTIONS_CLEAN, frame(spark, schemas.INTERACTIONS_CLEAN, bought))
        .give(CUSTOMER_ID_MAP, ids)
    )
    io.give(SPLIT_CUTOFFS, CUTOFFS)
    for fit, split in (("train", "val"), ("val", "test")):
        io.give(SEQUENCES, world.sequences(spark), split=split).give(ITEM_POPULARITY, world.popularity(spark), fit=fit)
        for model, ranks in world.ranks(spark).items():
            io.give(POSITIVE_RANKS, ranks, model=model, split=split)
    return io


def test_the_job_scores_both_splits_and_names_the_best_model(spark, capsys):
    world = random_world(num_users=8, seed=3, models=MODELS)
    io = _io(spark, world)
    evaluate.run(io, PipelineConfig(baselines=BaselinesConfig(models=MODELS)))
    evaluation = io.held[EVALUATION.path_of()]
    assert set(evaluation["split"]) == {"val", "test"}
    assert set(evaluation["best"]) == {"all_items", "first_purchase"}
    assert set(evaluation["best"].values()) <= set(MODELS)
    assert evaluation["split"]["test"]["protocols"]["all_items"]["num_positives"] == len(world.positives)
    assert "test, first_purchase" in capsys.readouterr().out


def test_a_customer_is_cold_until_a_cutoff_after_the_first_event(spark):
    world = random_world(num_users=8, seed=3, models=MODELS)
    io = _io(spark, world)
    evaluate.run(io, PipelineConfig(baselines=BaselinesConfig(models=MODELS)))
    splits = io.held[EVALUATION.path_of()]["split"]
    warm = sum(user == 1 for user, *_ in world.positives) / len(world.positives)
    assert round(1 - splits["val"]["shares"]["positives_of_cold_customers"], 9) == round(warm, 9)
    assert splits["test"]["shares"]["positives_of_cold_customers"] == 0
