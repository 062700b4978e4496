"""Score the rankings of every model on val and test, under every protocol."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    EVALUATION,
    INTERACTIONS_CLEAN,
    ITEM_POPULARITY,
    POSITIVE_RANKS,
    SEQUENCES,
    SPLIT_CUTOFFS,
    SPLIT_OF_FIT,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.evaluation.console import evaluation_table
from recsys_spark.evaluation.summary import choose_best, protocol_results, shares
from recsys_spark.evaluation.sums import customer_hits, customer_totals, hits, positive_facts
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    models = config.baselines.models
    splits = {}
    for fit, split in SPLIT_OF_FIT.items():
        facts = positive_facts(io.read(SEQUENCES, split=split), io.read(ITEM_POPULARITY, fit=fit), _known(io, fit))
        facts = io.materialise(f"facts_{split}", facts)
        found = hits(facts, {model: io.read(POSITIVE_RANKS, model=model, split=split) for model in models})
        results = protocol_results(customer_hits(found), customer_totals(facts), models)
        splits[split] = {"protocols": results, "shares": shares(facts)}
    evaluation = {"split": splits, "best": choose_best(splits["val"]["protocols"], models)}
    io.write_json(EVALUATION, evaluation)
    print(evaluation_table(evaluation))
    return {"models": len(models), "test_positives": splits["test"]["protocols"]["all_items"]["num_positives"]}


def _known(io: StageIO, fit: str) -> DataFrame:
    """user_idx of the customers with an event up to the cutoff of the fit."""
    cutoff = F.lit(io.read_json(SPLIT_CUTOFFS)[f"{fit}_end"]).cast("timestamp")
    early = io.read(INTERACTIONS_CLEAN).filter(F.col("invoice_date") <= cutoff).select("customer_id").distinct()
    return early.join(io.read(CUSTOMER_ID_MAP), on="customer_id", how="inner")


STAGE = Stage(
    "evaluate",
    reads=(SEQUENCES, ITEM_POPULARITY, POSITIVE_RANKS, INTERACTIONS_CLEAN, CUSTOMER_ID_MAP, SPLIT_CUTOFFS),
    writes=(EVALUATION,),
    sections=("baselines",),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
