"""Build (history, positive) examples and queries per split, in time order."""

from __future__ import annotations

import logging

from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    QUERIES,
    SEQUENCES,
    SPLIT_CUTOFFS,
)
from recsys_spark.contracts.columns import SPLITS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.sequences.examples import build_queries, build_sequences, split_bounds
from recsys_spark.sequences.reading import read_histories
from recsys_spark.session import ROWS_PER_ARROW_BATCH, arrow_batches_of
from recsys_spark.stage import Metrics, Stage, StageIO

log = logging.getLogger("recsys")


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    if config.sequences.history_mode == "event":
        log.warning(
            "sequences: with history_mode event a history may end in the basket that is asked for; what is trained on "
            "it does worse than its dev figures say, as lists are ranked from events strictly before the basket"
        )
    cutoffs = io.read_json(SPLIT_CUTOFFS)
    histories = read_histories(io, config.sequences.merge_minutes)
    metrics: Metrics = {"first_orders": histories.count()}  # a customer's first order has no history, hence no query
    with arrow_batches_of(io.spark, ROWS_PER_ARROW_BATCH):
        for split in SPLITS:
            bounds = split_bounds(split, cutoffs)
            sequences = build_sequences(histories, bounds, config.sequences)
            queries = build_queries(histories, bounds, config.queries)
            metrics[f"{split}_positives"] = io.write(SEQUENCES, sequences, split=split)
            metrics[f"{split}_queries"] = io.write(QUERIES, queries, split=split)
    return metrics


STAGE = Stage(
    "sequences",
    reads=(INTERACTIONS_CLEAN, ITEM_ID_MAP, CUSTOMER_ID_MAP, SPLIT_CUTOFFS),
    writes=(SEQUENCES, QUERIES),
    sections=("sequences", "queries"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
