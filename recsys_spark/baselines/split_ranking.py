"""Rank the queries of a split with every model, and publish the lists with the ranks of the positives."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.fitting import fitted_tables
from recsys_spark.baselines.list_tables import TABLES, Always, ListTables, ranks_of_positives, with_positives
from recsys_spark.baselines.query_batches import spread, with_queries
from recsys_spark.baselines.ranking import Model
from recsys_spark.baselines.registry import Fitted, ModelSettings, ranking_model
from recsys_spark.baselines.tuning import Changes, K, changed, choose, chosen_settings, tune
from recsys_spark.contracts.artifacts import QUERIES, SEQUENCES
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.evaluation.protocols import lists_without_scores, recall_by_protocol
from recsys_spark.stage import StageIO

_BUCKETS = 1_000_000
log = logging.getLogger("recsys")


def rank_split(
    io: StageIO, settings: ModelSettings, chosen: Mapping[str, Any], histories: DataFrame, fit: str, split: str
) -> dict[str, Any]:
    """Rank a split's queries with every model of the fit; returns of each what `publish_lists` does.

    All of them count, also those after `evaluation.test_end`, which moves no stage but those that judge.
    chosen: of `choose_settings`, empty where nothing was tuned.
    """
    models = settings.baselines.ranked
    fitted = fitted_tables(io, fit, models, settings)
    kernels = {name: ListTables(Always(models_of(name, fitted, settings, chosen)), fitted.codes) for name in models}
    return publish_lists(io, asked_in(io, histories, split), kernels, fit, split)


def models_of(name: str, fitted: Fitted, settings: ModelSettings, chosen: Mapping[str, Any]) -> tuple[Model, ...]:
    """A model with the settings chosen for all items, and one with those for first purchases where they are others.

    A second model ranks every query once more.
    """
    general, first = (chosen_settings(settings, chosen, name, protocol) for protocol in LIST_PROTOCOLS)
    different = (general,) if general == first else (general, first)
    return tuple(ranking_model(name, fitted, each) for each in different)


def asked_in(io: StageIO, histories: DataFrame, split: str) -> DataFrame:
    """The queries of a split, of `with_queries`, and their positives, kept on disk for all models that rank them."""
    asked = with_queries(histories, io.read(QUERIES, split=split))
    return io.materialise(f"asked_{split}", spread(with_positives(asked, io.read(SEQUENCES, split=split))))


def publish_lists(
    io: StageIO, asked: DataFrame, kernels: Mapping[str, ListTables], fit: str, split: str
) -> dict[str, dict[str, Any]]:
    """Publish the lists of a split and the ranks of its positives by model; returns of each the number of its lists,
    that of the lists of popular items alone, as it knew nothing of the customer, and Recall@20.

    asked: of `with_positives`, read once for each kernel. kernels: by model, all of the same fit.
    """
    if not kernels:
        return {}
    num_lists = {
        name: io.write_tables(TABLES, asked, kernel, model=name, split=split)[0] for name, kernel in kernels.items()
    }
    rankings, ranks = ({name: io.read(table, model=name, split=split) for name in kernels} for table in TABLES)
    unscored, recall = lists_without_scores(rankings), recall_by_protocol(ranks, k=K)
    return {
        name: {"fit": fit, "lists": lists, "lists_without_scores": unscored[name], f"recall@{K}": recall[name]}
        for name, lists in num_lists.items()
    }


def drawn_queries(queries: DataFrame, share: float) -> DataFrame:
    """About a share of QUERIES, the same ones whoever else is a customer: a query_id holds the customer's index."""
    bucket = F.pmod(F.xxhash64("customer_id", "event_time"), F.lit(_BUCKETS))
    return queries.filter(bucket < int(share * _BUCKETS))


def choose_settings(io: StageIO, settings: ModelSettings, histories: DataFrame, fit: str, split: str) -> dict[str, Any]:
    """Try settings on a sample of a split's queries: what was tried and what was chosen, by model."""
    models = settings.baselines.models
    fitted = fitted_tables(io, fit, models, settings)
    queries, positives = io.read(QUERIES, split=split), io.read(SEQUENCES, split=split)
    share = min(settings.baselines.tune_queries / max(queries.count(), 1), 1.0)
    drawn = io.materialise("tuning_queries", drawn_queries(queries, share))
    sampled = positives.join(drawn, on="query_id", how="left_semi")
    asked = io.materialise("tuning_asked", spread(with_positives(with_queries(histories, drawn), sampled)))
    tried = {}
    for name in models:

        def recall(changes: Changes, name: str = name) -> dict[str, float]:
            model = ranking_model(name, fitted, changed(settings, changes))
            found = recall_by_protocol({name: ranks_of_positives(asked, Always((model,)))}, k=K)[name]
            log.info("tuning: %s %s %s", name, dict(changes), found)
            return found

        tried[name] = tune(name, recall)
    return {"share_of_queries": share, "tried": tried, "chosen": {name: choose(found) for name, found in tried.items()}}
