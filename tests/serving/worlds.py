"""A small finished run whose best model is personal_frequency, and what serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pyspark.sql import SparkSession

from jobs import recommend
from jobs.serve import served_by
from recsys_spark.baselines.popularity import fit_popularity
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.contracts.load_config import load_config
from recsys_spark.contracts.model_schemas import ITEM_NEIGHBOURS
from recsys_spark.contracts.schemas import ITEMS_CLEAN
from recsys_spark.entities.id_maps import dense_index
from recsys_spark.serving.bundle_reloader import BundleReloader
from recsys_spark.serving.plan import Served
from recsys_spark.serving.replies import Replies
from recsys_spark.stage import StageIO
from recsys_spark.storage import Storage
from tests.support.frames import frame
from tests.support.worlds import interactions

ARABIC = "مصباح يدوي"
CODES = ("A1", "B2", "C3", "D4", "ع 5")
TEXTS = dict(zip(CODES, ("LANTERN", "UNION FLAG", None, "TEA SET", ARABIC), strict=True))
CATEGORIES = {"B2": "FLAGS", "C3": "FLAGS", "D4": "TEA"}
SETTINGS = ("retriever.towers=[]", "recommend.reasons.min_customers=1")
NEIGHBOURS = (("B2", "D4"), ("B2", "ع 5"))
# (customer, product, day): acme buys A1 most and latest; the customer with odd letters bought one thing.
EVENTS = [
    *(("acme", "A1", day) for day in (1, 8, 15, 22)),
    *(("acme", "B2", day) for day in (1, 8)),
    *(("bolt/../etc", code, 20) for code in ("B2", "C3")),
    *(("zed", code, 21) for code in ("B2", "D4", "ع 5")),
    ("zed", "B2", 5),
    ("شركة", "D4", 23),
]


def served(root: Path, *pairs: str) -> Served:
    """What serves the run below a root, watching nothing."""
    return served_by(load_config(pairs=[f"paths.processed={root}", "serve.watch_seconds=0", *SETTINGS, *pairs]))


def no_bundle_is_missing() -> None:
    raise AssertionError("the bundle is there")


def held_here(plan: Served, make: Callable[[], None] = no_bundle_is_missing) -> BundleReloader:
    """What is served, answered in this process."""
    return BundleReloader(plan, make, lambda folder, run: Replies.open(folder, plan, run))


def write_run(spark: SparkSession, root: Path, events: list[tuple[str, str, int]]) -> Storage:
    """Everything that serving reads, as the stages leave it."""
    storage = Storage(str(root), spark)
    storage.open_root()
    config = served(root).config
    written = (
        artifacts.INTERACTIONS_CLEAN,
        artifacts.ITEM_ID_MAP,
        artifacts.CUSTOMER_ID_MAP,
        artifacts.ITEMS_CLEAN,
        artifacts.ITEM_POPULARITY,
        artifacts.ITEM_NEIGHBOURS,
        artifacts.EVALUATION,
        artifacts.INGEST_REPORT,
        artifacts.BASELINE_RESULTS,
        artifacts.SPLIT_CUTOFFS,
    )
    io = StageIO(replace(recommend.STAGE, name="all", writes=written), storage, config)
    lines = interactions(spark, events)
    items = dense_index(lines, "stock_code", "item_idx").localCheckpoint()
    tables: dict[Artifact, object] = {
        artifacts.INTERACTIONS_CLEAN: lines,
        artifacts.ITEM_ID_MAP: items,
        artifacts.CUSTOMER_ID_MAP: dense_index(lines, "customer_id", "user_idx"),
        artifacts.ITEMS_CLEAN: frame(
            spark,
            ITEMS_CLEAN,
            [
                {**row.asDict(), "description": TEXTS[row.stock_code], "category": CATEGORIES.get(row.stock_code)}
                for row in items.collect()
            ],
        ),
    }
    for artifact, table in tables.items():
        io.write(artifact, table)
    counts = fit_popularity(lines, items, "2012-01-01T00:00:00.000000", config.baselines.recent_days)
    io.write(artifacts.ITEM_POPULARITY, counts, fit="full")
    numbers = {row.stock_code: row.item_idx for row in items.collect()}
    near = [(one, other) for pair in NEIGHBOURS for one, other in (pair, pair[::-1])]
    rows = [{"item_idx": numbers[one], "neighbour_idx": numbers[other], "score": 0.5, "rank": 1} for one, other in near]
    io.write(artifacts.ITEM_NEIGHBOURS, frame(spark, ITEM_NEIGHBOURS, rows), fit="full")
    io.write_json(artifacts.EVALUATION, {"best": dict.fromkeys(("all_items", "first_purchase"), "personal_frequency")})
    io.write_json(artifacts.INGEST_REPORT, {})
    io.write_json(artifacts.BASELINE_RESULTS, {"tuning": {"chosen": {}}})
    io.write_json(
        artifacts.SPLIT_CUTOFFS, {"train_end": "2010-01-01T00:00:00.000000", "val_end": "2010-01-02T00:00:00.000000"}
    )
    return storage
