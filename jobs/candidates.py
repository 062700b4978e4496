"""Propose items to the ranker: the union of all sources, for train, val and test queries."""

from __future__ import annotations

from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.candidates.chunks import in_chunks, num_parts
from recsys_spark.candidates.fitted_sources import fitted_retriever, ranker_queries
from recsys_spark.candidates.retrieve import CandidatesKernel
from recsys_spark.command_line import main
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import CANDIDATES, CANDIDATES_FORCED, FIT_OF_SPLIT
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.sequences.reading import read_histories
from recsys_spark.session import ROWS_PER_ARROW_BATCH, arrow_batches_of
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    histories = read_histories(io, config.sequences.merge_minutes, with_places=config.retriever.uses_places)
    settings = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    metrics = {}
    with arrow_batches_of(io.spark, ROWS_PER_ARROW_BATCH):
        for split, fit in FIT_OF_SPLIT.items():
            queries = ranker_queries(io, split, config.candidates.train_queries, config.seed)
            retriever = fitted_retriever(io, settings, config.candidates, config.retriever.towers, fit)
            kernel = CandidatesKernel(retriever, config.queries.hist_max)
            asked = in_chunks(histories, queries, num_parts(queries.count(), config.candidates), config.seed)
            written = io.write_tables((CANDIDATES, CANDIDATES_FORCED), asked, kernel, split=split)
            metrics[f"{split}_queries"] = written[0]
    return metrics


STAGE = Stage(
    "candidates",
    reads=(
        *artifacts.PURCHASE_TABLES,
        artifacts.SPLIT_CUTOFFS,
        artifacts.QUERIES,
        artifacts.ITEM_POPULARITY,
        *artifacts.MODEL_TABLES,
        *artifacts.TOWER_FILES,
    ),
    writes=(CANDIDATES, CANDIDATES_FORCED),
    sections=("candidates", "baselines", "knn", "ease", "tifu", "nmf", "retriever", "sequences", "queries"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
