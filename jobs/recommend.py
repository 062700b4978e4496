"""Recommend to every customer as of the end of the data, by the model that was best on val."""

from __future__ import annotations

from functools import partial

from pyspark.sql import DataFrame

from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.query_batches import spread, with_queries
from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
    BASELINE_RESULTS,
    CUSTOMER_ID_MAP,
    EVALUATION,
    FEATURE_TABLES,
    INGEST_REPORT,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    ITEMS_CLEAN,
    MODEL_TABLES,
    RANKER_BEST,
    RECOMMENDATIONS,
    RECOMMENDATIONS_XLSX,
    SPLIT_CUTOFFS,
    TOWER_FILES,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.ingest.readers import source_files
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.recommendations.lists import SHEET, Excluding, list_items, queries_at, recommendations
from recsys_spark.recommendations.moment import (
    fit_at,
    last_event,
    moment_after,
    source_of,
    with_new_customers,
    with_new_lines,
)
from recsys_spark.recommendations.named_model import NamedModelSettings, named_model
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.split import iso_in_utc
from recsys_spark.stage import Metrics, Stage, StageIO
from recsys_spark.workbook_writer import write_workbook

SOURCES = (INTERACTIONS_CLEAN, CUSTOMER_ID_MAP, ITEM_ID_MAP)


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    options, recent_days = config.recommend, config.baselines.recent_days
    protocol = "first_purchase" if options.share_new == 1 else "all_items"
    best = io.read_json(EVALUATION)["best"][protocol]
    fit, asked = _asked(io, config)
    codes = partial(load_codes, *io.path_and_content(ITEM_ID_MAP))
    best_model = named_model(io, best, protocol, fit, model_settings(config))
    model = Excluding(best_model, options.excluded_codes, codes)
    listed = list_items(asked, model, options.top_n, options.share_new)
    counts = io.read(ITEM_POPULARITY, fit=fit)
    rows = io.write(RECOMMENDATIONS, recommendations(listed, io.read(ITEMS_CLEAN), counts, best, recent_days))
    sheet = partial(write_workbook, io.read(RECOMMENDATIONS), SHEET, ("customer_id", "rank"), "Recommendations")
    io.write_file(RECOMMENDATIONS_XLSX, sheet)
    return {"recommendations": rows, "model": best, "fit": fit}


def _asked(io: StageIO, config: PipelineConfig) -> tuple[str, DataFrame]:
    """The fit that is asked, and every customer's query at the moment with what was bought before it."""
    options = config.recommend
    interactions, customer_ids, item_ids = (io.read(table) for table in SOURCES)
    as_of = iso_in_utc(options.as_of, "recommend.as_of") if options.as_of else None
    fit = fit_at(as_of, io.read_json(SPLIT_CUTOFFS), last_event(interactions))
    if options.new_lines:
        entry = CustomerEntry.of(config.ingest, config.paths.processed)
        entry.require_same_key(io.read_json(INGEST_REPORT))
        lines = with_new_lines(interactions, options.new_lines, config.ingest, config.clean, entry, io.materialise)
        interactions = io.materialise("interactions", lines)
        customer_ids = with_new_customers(customer_ids, interactions, io.num_rows(CUSTOMER_ID_MAP))
    merge_minutes = config.sequences.merge_minutes
    places = config.baselines.uses_segments or config.retriever.uses_places
    histories = customer_histories(interactions, item_ids, customer_ids, merge_minutes, True, with_places=places)
    queries = queries_at(customer_ids, interactions, moment_after(interactions, as_of))
    return fit, spread(with_queries(histories, queries))


def input_files(config: PipelineConfig) -> list[str]:
    """The files of new lines."""
    new_lines = config.recommend.new_lines
    return source_files(source_of(new_lines, config.ingest)) if new_lines else []


def entry_facts(config: PipelineConfig) -> dict[str, str]:
    """Which customers of new lines come in, and under which names."""
    if not config.recommend.new_lines:
        return {}
    return CustomerEntry.of(config.ingest, config.paths.processed).facts()


def model_settings(config: PipelineConfig) -> NamedModelSettings:
    """The config of whatever may rank."""
    stated = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    second = (config.candidates, config.features, config.ranker, config.queries.hist_max)
    return NamedModelSettings(stated, config.retriever, *second)


STAGE = Stage(
    "recommend",
    reads=(
        *SOURCES,
        INGEST_REPORT,
        ITEMS_CLEAN,
        ITEM_POPULARITY,
        *MODEL_TABLES,
        *TOWER_FILES,
        *FEATURE_TABLES,
        RANKER_BEST,
        SPLIT_CUTOFFS,
        BASELINE_RESULTS,
        EVALUATION,
    ),
    writes=(RECOMMENDATIONS, RECOMMENDATIONS_XLSX),
    sections=(
        "recommend",
        "baselines",
        "knn",
        "ease",
        "tifu",
        "nmf",
        "retriever",
        "candidates",
        "features",
        "ranker",
        "sequences",
        "queries",
        "ingest",
        "clean",
    ),
    run=run,
    sources=input_files,
    facts=entry_facts,
)

OPTIONS = {"--as-of": ("recommend.as_of", "TIME"), "--with": ("recommend.new_lines", "FILE...")}

if __name__ == "__main__":
    main(STAGE, options=OPTIONS)
