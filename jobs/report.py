"""Write report.html: what was done, how good it is and where it is weak, as one page for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from recsys_spark.command_line import main
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.columns import SPLITS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.ranker_config import TWO_STAGE
from recsys_spark.evaluation.facts import judged, of_judged
from recsys_spark.evaluation.protocols import ALL_ITEMS
from recsys_spark.evaluation.runs import Run
from recsys_spark.paths import put_text
from recsys_spark.report.data_facts import data_facts
from recsys_spark.report.provenance import run_facts
from recsys_spark.report.samples import SampleFrames, moment_of, sample_customers
from recsys_spark.report.source_facts import source_contributions
from recsys_spark.stage import Metrics, Stage, StageIO

DOCUMENTS = (
    artifacts.CLEANING_REPORT,
    artifacts.SPLIT_CUTOFFS,
    artifacts.BASELINE_RESULTS,
    artifacts.TWOTOWER_RESULTS,
    artifacts.RANKER_RESULTS,
    artifacts.RANKER_ABLATIONS,
    artifacts.EVALUATION,
)
DATA = (artifacts.INTERACTIONS_CLEAN, artifacts.ITEMS_CLEAN, artifacts.CUSTOMERS_CLEAN, artifacts.REJECTED_LINES)


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    # Matplotlib, which other commands need not load.
    from recsys_spark.report.page import ReportFacts, all_charts, render

    documents = {document.name: io.read_json(document) for document in DOCUMENTS if io.has(document)}
    quotas = asdict(config.candidates.quotas)
    whole = Run(io.storage)
    test_end = whole.test_end()  # as the evaluation that the page shows
    facts = ReportFacts(
        documents=documents,
        data=data_facts(*(io.read(table) for table in DATA)),
        counts=_counts(io, test_end),
        sources=_sources(io, documents, quotas, test_end),
        samples=_samples(io, config, documents, quotas, test_end),
        moment=moment_of(whole.recommend_options()),
        run=run_facts(io.storage, io.inputs),
    )
    page = render(facts, all_charts(facts))
    io.write_file(artifacts.REPORT, lambda path: put_text(page, path))
    return {"bytes": len(page.encode()), "customers": len(facts.samples)}


def _counts(io: StageIO, test_end: str | None) -> dict[str, int]:
    tables = (artifacts.SEQUENCES, artifacts.QUERIES)
    return {
        f"{table.name}_{split}": _num_judged(io, table, split, test_end)
        for table in tables
        for split in SPLITS
        if io.has(table, split=split)
    }


def _num_judged(io: StageIO, table: artifacts.Artifact, split: str, test_end: str | None) -> int:
    if split == "test" and test_end:
        return judged(io.read(table, split=split), split, test_end).count()
    return io.num_rows(table, split=split)


def _has_candidates(io: StageIO, documents: dict[str, Any]) -> bool:
    """Whether there is a model of two stages, whose candidates are of this run."""
    return bool(documents.get("ranker_results", {}).get("trained")) and io.has(artifacts.CANDIDATES, split="test")


def _sources(
    io: StageIO, documents: dict[str, Any], quotas: dict[str, int], test_end: str | None
) -> dict[str, Any] | None:
    if not _has_candidates(io, documents):
        return None
    candidates, queries = (io.read(table, split="test") for table in (artifacts.CANDIDATES, artifacts.QUERIES))
    return source_contributions(of_judged(candidates, queries, "test", test_end), quotas)


def _samples(
    io: StageIO, config: PipelineConfig, documents: dict[str, Any], quotas: dict[str, int], test_end: str | None
) -> list[dict[str, Any]]:
    """Customers of the test with the lists of the model that was best on val."""
    if "evaluation" not in documents:
        return []
    best = documents["evaluation"]["best"][ALL_ITEMS]
    is_two_stage = best == TWO_STAGE and _has_candidates(io, documents)
    frames = SampleFrames(
        queries=judged(io.read(artifacts.QUERIES, split="test"), "test", test_end),
        sequences=io.read(artifacts.SEQUENCES, split="test"),
        rankings=io.read(artifacts.RANKINGS, model=best, split="test"),
        ranks=io.read(artifacts.POSITIVE_RANKS, model=best, split="test"),
        interactions=io.read(artifacts.INTERACTIONS_CLEAN),
        items=io.read(artifacts.ITEMS_CLEAN),
        popularity=io.read(artifacts.ITEM_POPULARITY, fit="val"),
        candidates=io.read(artifacts.CANDIDATES, split="test") if is_two_stage else None,
        recommendations=io.read(artifacts.RECOMMENDATIONS) if io.has(artifacts.RECOMMENDATIONS) else None,
    )
    return sample_customers(frames, config.seed, config.baselines.recent_days, quotas, io.materialise)


STAGE = Stage(
    "report",
    reads=(
        *DOCUMENTS,
        *DATA,
        artifacts.SEQUENCES,
        artifacts.QUERIES,
        artifacts.RANKINGS,
        artifacts.POSITIVE_RANKS,
        artifacts.ITEM_POPULARITY,
        artifacts.CANDIDATES,
        artifacts.RECOMMENDATIONS,
    ),
    writes=(artifacts.REPORT,),
    sections=("baselines", "candidates"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
