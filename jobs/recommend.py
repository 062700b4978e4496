"""Recommend to every customer as of the end of the data, by the model that was best on val."""

from __future__ import annotations

from functools import partial
from itertools import product

from recsys_spark.baselines.fitting import fitted_tables
from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.query_batches import spread, with_queries
from recsys_spark.baselines.ranking import Model
from recsys_spark.baselines.registry import ModelSettings, build_model
from recsys_spark.baselines.tuning import chosen_settings
from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
    BASELINE_RESULTS,
    CUSTOMER_ID_MAP,
    EVALUATION,
    INTERACTIONS_CLEAN,
    ITEM_FACTS,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    ITEMS_CLEAN,
    MODEL_TABLES,
    RANKER_BEST,
    RECOMMENDATIONS,
    RECOMMENDATIONS_XLSX,
    TOWER_FILES,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.retriever_config import ranked_as
from recsys_spark.ranker.two_stage import TwoStageSettings, fitted_two_stage
from recsys_spark.recommendations.lists import SHEET, Excluding, list_items, queries_now, recommendations
from recsys_spark.retriever.rankings import tower_model
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.stage import Metrics, Stage, StageIO
from recsys_spark.workbook_writer import write_workbook

SOURCES = (INTERACTIONS_CLEAN, CUSTOMER_ID_MAP, ITEM_ID_MAP)


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    interactions, customer_ids = io.read(INTERACTIONS_CLEAN), io.read(CUSTOMER_ID_MAP)
    options, recent_days = config.recommend, config.baselines.recent_days
    protocol = "first_purchase" if options.only_new else "all_items"
    best = io.read_json(EVALUATION)["best"][protocol]
    codes = partial(load_codes, *io.path_and_content(ITEM_ID_MAP))
    model = Excluding(_best_model(io, config, best, protocol), options.excluded_codes, codes)
    merge_minutes = config.sequences.merge_minutes
    histories = customer_histories(
        interactions, io.read(ITEM_ID_MAP), customer_ids, merge_minutes, with_quantities=True
    )
    asked = spread(with_queries(histories, queries_now(customer_ids, interactions)))
    listed = list_items(asked, model, options.top_n, options.only_new)
    counts = io.read(ITEM_POPULARITY, fit="full")
    rows = io.write(RECOMMENDATIONS, recommendations(listed, io.read(ITEMS_CLEAN), counts, best, recent_days))
    sheet = partial(write_workbook, io.read(RECOMMENDATIONS), SHEET, ("customer_id", "rank"), "Recommendations")
    io.write_file(RECOMMENDATIONS_XLSX, sheet)
    return {"recommendations": rows, "model": best}


def _best_model(io: StageIO, config: PipelineConfig, name: str, protocol: str) -> Model:
    """The model of that name, fitted to all data."""
    pairs = product(config.retriever.towers, config.retriever.rank_by)
    found = next((pair for pair in pairs if ranked_as(*pair) == name), None)
    if found is not None:
        return tower_model(io, *found, fit="full")
    stated = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    if name in config.ranker.ranked:
        towers, hist_max = config.retriever.towers, config.queries.hist_max
        return fitted_two_stage(
            io, TwoStageSettings(stated, config.candidates, config.features, towers, hist_max), fit="full"
        )
    settings = chosen_settings(stated, io.read_json(BASELINE_RESULTS)["tuning"]["chosen"], name, protocol)
    return build_model(name, fitted_tables(io, "full", [name], settings), settings)


STAGE = Stage(
    "recommend",
    reads=(
        *SOURCES,
        ITEMS_CLEAN,
        ITEM_POPULARITY,
        *MODEL_TABLES,
        *TOWER_FILES,
        ITEM_FACTS,
        RANKER_BEST,
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
    ),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
