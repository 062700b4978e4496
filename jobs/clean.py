"""Clean raw purchase lines: typed values, rejected lines with their rule, one row per customer, item and time."""

from __future__ import annotations

from recsys_spark.cleaning.clean import clean_lines
from recsys_spark.cleaning.date_checks import late_dates, warn_of_late_dates
from recsys_spark.cleaning.report import funnel
from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
    CLEANING_REPORT,
    INTERACTIONS_CLEAN,
    RAW_LINES,
    REJECTED_LINES,
    SPLIT_CUTOFFS,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.sequences.split import require_parts
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    raw = io.read(RAW_LINES)
    cleaned = clean_lines(raw, config.clean, config.split, io.materialise)
    interactions = io.write(INTERACTIONS_CLEAN, cleaned.interactions)
    if not interactions:
        raise DataError("clean.coverage left no interaction; lower its thresholds or its rounds")
    if config.split.fold_end or config.clean.rejects_interactions:  # cutoffs by shares are of what was there before
        require_parts(io.read(INTERACTIONS_CLEAN), cleaned.cutoffs)
    rejected = io.write(REJECTED_LINES, cleaned.rejected)
    report = funnel(raw.count(), io.read(INTERACTIONS_CLEAN), io.read(REJECTED_LINES), config.clean)
    late = late_dates(io.read(INTERACTIONS_CLEAN))
    warn_of_late_dates(late, config.clean)
    io.write_json(SPLIT_CUTOFFS, cleaned.cutoffs)
    saw_all = {
        "coverage_saw_all_data": config.clean.coverage.rounds > 0,
        "cancellations_saw_all_data": config.clean.nets_cancellations,
    }
    facts = {"funnel": report, "late_dates": late, "outliers": cleaned.outliers, **saw_all, **cleaned.cutoffs}
    io.write_json(CLEANING_REPORT, facts)
    return {"lines": report["lines_read"], "interactions": interactions, "rejected_lines": rejected}


STAGE = Stage(
    "clean",
    reads=(RAW_LINES,),
    writes=(INTERACTIONS_CLEAN, REJECTED_LINES, SPLIT_CUTOFFS, CLEANING_REPORT),
    sections=("clean", "split"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
