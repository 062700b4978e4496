"""Names of all stages in their order; a test holds them equal to STAGES of `jobs/pipeline.py`."""

from __future__ import annotations

STAGE_NAMES = (
    "ingest",
    "clean",
    "entities",
    "sequences",
    "baselines",
    "train_retriever",
    "candidates",
    "features",
    "train_ranker",
    "evaluate",
    "recommend",
    "report",
)
