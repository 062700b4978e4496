"""Recommend to every customer as of the end of the data, by the model that was best on val."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial

from pyspark.sql import DataFrame

from recsys_spark.baselines.query_batches import spread, with_queries
from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.command_line import config_from, main, run_alone
from recsys_spark.contracts.artifacts import (
    BASELINE_RESULTS,
    CUSTOMER_ID_MAP,
    EVALUATION,
    FEATURE_TABLES,
    INGEST_REPORT,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    ITEMS_CLEAN,
    MODEL_TABLES,
    PURCHASE_TABLES,
    RANKER_BEST,
    RECOMMENDATIONS,
    RECOMMENDATIONS_XLSX,
    SPLIT_CUTOFFS,
    TOWER_FILES,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.stages import STAGE_NAMES
from recsys_spark.entities.items import known_texts
from recsys_spark.ingest.readers import source_files
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.recommendations.facts import SHEET, Sales, pairs_of, recommendations
from recsys_spark.recommendations.fitted_rules import (
    customer_entry,
    fitted_evidence,
    fitted_rules,
    policy_of,
    rule_files,
    with_exclusions,
)
from recsys_spark.recommendations.lists import Lister, list_items, passed_over, queries_at
from recsys_spark.recommendations.moment import (
    FresherSales,
    before,
    fit_at,
    last_event,
    moment_after,
    only_new_lines,
    source_of,
    with_new_customers,
)
from recsys_spark.recommendations.named_model import NamedModelSettings, named_model
from recsys_spark.recommendations.reasons import Teller
from recsys_spark.recommendations.together import co_purchases
from recsys_spark.runs.choose import place_of
from recsys_spark.runs.work import is_published
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.reading import read_purchases
from recsys_spark.sequences.split import iso_in_utc
from recsys_spark.stage import Metrics, Outcome, Stage, StageIO
from recsys_spark.storage import Storage
from recsys_spark.workbook_writer import write_workbook


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    options = config.recommend
    protocol = "first_purchase" if options.share_new == 1 else "all_items"
    best = io.read_json(EVALUATION)["best"][protocol]
    at = asked_moment(io, config)
    items = io.read(ITEMS_CLEAN)
    if options.as_of:  # what an item is called, and where it belongs, may have changed since
        items = io.materialise("known_texts", known_texts(at.before, io.read(ITEM_ID_MAP)))
    lister = Lister(
        model=named_model(at.io, best, protocol, at.fit, model_settings(config)),
        policy=policy_of(options, options.top_n),
        rules=fitted_rules(io, items, options, config.ingest, config.clean.dates, at.before),
        evidence=fitted_evidence(io, model_settings(config), options.reasons.recent_items, at.fit),
    )
    asked = with_exclusions(io, at.asked, at.customer_ids, options, config.ingest, config.paths.processed)
    listed = io.materialise("listed", list_items(spread(asked), lister))
    counted = io.materialise("co_purchases", co_purchases(at.asked, pairs_of(listed), io.scratch("pairs")))
    sales = Sales(at.before, items, at.moment, config.baselines.recent_days)
    teller = Teller(best, options.reasons, sales.recent_days)
    rows = io.write(RECOMMENDATIONS, recommendations(listed, sales, counted, teller, io.materialise))
    sheet = partial(write_workbook, io.read(RECOMMENDATIONS), SHEET, ("customer_id", "rank"), "Recommendations")
    io.write_file(RECOMMENDATIONS_XLSX, sheet)
    return {"recommendations": rows, **passed_over(listed), "model": best, "fit": at.fit}


@dataclass(frozen=True)
class AskedMoment:
    """What there was at the moment. fit: the one that is asked; io: with the daily sales of all lines; before: the
    interactions before the moment; asked: every customer's query with what was bought before it.
    """

    fit: str
    io: StageIO
    moment: DataFrame
    before: DataFrame
    customer_ids: DataFrame
    asked: DataFrame


def asked_moment(io: StageIO, config: PipelineConfig) -> AskedMoment:
    options = config.recommend
    interactions, item_ids, customer_ids = read_purchases(io)
    as_of = iso_in_utc(options.as_of, "recommend.as_of") if options.as_of else None
    fit = fit_at(as_of, io.read_json(SPLIT_CUTOFFS), last_event(interactions))
    if options.new_lines:
        entry = customer_entry(io, config.ingest, config.paths.processed)
        new = only_new_lines(interactions, options.new_lines, config.ingest, config.clean, entry, io.materialise)
        interactions = io.materialise("interactions", interactions.unionByName(new.interactions))
        customer_ids = with_new_customers(customer_ids, interactions, io.num_rows(CUSTOMER_ID_MAP))
        io = FresherSales.of(io, interactions, item_ids)
    moment = moment_after(interactions, as_of)
    known = before(interactions, moment)
    histories = customer_histories(
        known,  # cut before orders are merged: a later one would take the time of an order before the moment
        item_ids,
        customer_ids,
        config.sequences.merge_minutes,
        with_quantities=True,
        with_places=config.baselines.uses_segments or config.retriever.uses_places,
    )
    queries = queries_at(customer_ids, interactions, moment)
    asked = io.materialise("asked", spread(with_queries(histories, queries)))
    return AskedMoment(fit, io, moment, known, customer_ids, asked)


def input_files(config: PipelineConfig) -> list[str]:
    """The files of new lines and those of the business's rules."""
    new_lines = config.recommend.new_lines
    lines = source_files(source_of(new_lines, config.ingest)) if new_lines else []
    return lines + rule_files(config.recommend)


def entry_facts(config: PipelineConfig) -> dict[str, str]:
    """Which customers of new lines and of exclusions come in, and under which names."""
    if not (config.recommend.new_lines or config.recommend.customer_exclusions):
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
        *PURCHASE_TABLES,
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


def recommend_alone(arguments: argparse.Namespace) -> Outcome:
    """Recommend in the current run, and print where the workbook lies.

    In the unfinished run instead where none is complete, or where single stages have brought it up to this one; but a
    moment (--as-of) or new lines (--with) are asked of lists that people have at hand, so of a complete run.
    """
    options = config_from(arguments).recommend

    def goes_on(unfinished: Storage) -> bool:
        before = STAGE_NAMES[: place_of(STAGE.name)]
        return not (options.as_of or options.new_lines) and all(is_published(name, unfinished) for name in before)

    return run_alone(STAGE, arguments, goes_on, {"workbook": RECOMMENDATIONS_XLSX})


if __name__ == "__main__":
    main(STAGE, options=OPTIONS, work=recommend_alone)
