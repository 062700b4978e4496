"""Score the rankings of every model on val and test, under every protocol."""

from __future__ import annotations

from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
    CANDIDATES,
    CUSTOMER_ID_MAP,
    EVALUATION,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    ITEMS_CLEAN,
    POSITIVE_RANKS,
    RANKINGS,
    SEQUENCES,
    SPLIT_CUTOFFS,
    SPLIT_OF_FIT,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.evaluation.console import evaluation_table
from recsys_spark.evaluation.document import evaluation_document
from recsys_spark.evaluation.summary import SplitFrames, summarise
from recsys_spark.sequences.split import iso_in_utc
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    *chosen, sentinel = config.baselines.ranked
    models, summaries = (*chosen, *config.retriever.ranked, *config.ranker.ranked, sentinel), {}
    for fit, split in SPLIT_OF_FIT.items():
        frames = _frames(io, fit, split, models, config.ranker.ranked, config.evaluation.test_end)
        summaries[split] = summarise(frames, io.materialise, config.evaluation, config.seed)
    evaluation = evaluation_document(summaries, models, config.evaluation.replicates, config.ranker.ranked)
    io.write_json(EVALUATION, evaluation)
    print(evaluation_table(evaluation))
    return {"models": len(models), "warnings": len(evaluation["warnings"])}


def _frames(
    io: StageIO, fit: str, split: str, models: tuple[str, ...], two_stage: tuple[str, ...], test_end: str | None
) -> SplitFrames:
    """two_stage: those of the models that rank candidates."""
    cutoffs = io.read_json(SPLIT_CUTOFFS)
    end = test_end and iso_in_utc(test_end, "evaluation.test_end")
    if end and end <= cutoffs["val_end"]:  # both in full, so that texts are in the order of their times
        raise ConfigError(f"evaluation.test_end must lie after the end of val, {cutoffs['val_end']}, got {test_end}")
    return SplitFrames(
        split=split,
        cutoff=cutoffs[f"{fit}_end"],
        until=cutoffs.get(f"{split}_end", end),
        sequences=io.read(SEQUENCES, split=split),
        interactions=io.read(INTERACTIONS_CLEAN),
        customer_id_map=io.read(CUSTOMER_ID_MAP),
        item_id_map=io.read(ITEM_ID_MAP),
        items=io.read(ITEMS_CLEAN),
        popularity=io.read(ITEM_POPULARITY, fit=fit),
        rankings={model: io.read(RANKINGS, model=model, split=split) for model in models},
        ranks={model: io.read(POSITIVE_RANKS, model=model, split=split) for model in models},
        candidates={model: io.read(CANDIDATES, split=split) for model in two_stage},
    )


TABLES = (SEQUENCES, ITEMS_CLEAN, ITEM_POPULARITY, POSITIVE_RANKS, RANKINGS, INTERACTIONS_CLEAN, CANDIDATES)
READS = (*TABLES, CUSTOMER_ID_MAP, ITEM_ID_MAP, SPLIT_CUTOFFS)
SECTIONS = ("baselines", "retriever", "ranker", "evaluation")
STAGE = Stage("evaluate", reads=READS, writes=(EVALUATION,), sections=SECTIONS, run=run)

if __name__ == "__main__":
    main(STAGE)
