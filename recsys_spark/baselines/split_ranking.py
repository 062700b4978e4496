"""Rank the queries of a split with every model, and publish the lists with the ranks of the positives."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.fitting import fitted_tables
from recsys_spark.baselines.query_batches import spread, with_queries
from recsys_spark.baselines.ranking import rank
from recsys_spark.baselines.registry import Fitted, ModelSettings, ranking_model
from recsys_spark.baselines.tuning import Changes, K, changed, choose, chosen_settings, tune
from recsys_spark.contracts.artifacts import ITEM_ID_MAP, POSITIVE_RANKS, QUERIES, RANKINGS, SEQUENCES
from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS
from recsys_spark.evaluation.protocols import (
    ALL_ITEMS,
    FIRST_PURCHASE,
    MASKED_NEW,
    lists_without_scores,
    positive_ranks,
    recall_by_protocol,
)
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
    asked = io.materialise(f"asked_{split}", spread(with_queries(histories, io.read(QUERIES, split=split))))
    positives = io.read(SEQUENCES, split=split)
    found = {}
    for name in models:
        by_protocol = {protocol: chosen_settings(settings, chosen, name, protocol) for protocol in LIST_PROTOCOLS}
        lists = lists_by_protocol(asked, name, fitted, by_protocol)
        found[name] = {"fit": fit, **publish_lists(io, name, split, lists, positives)}
    return found


def publish_lists(io: StageIO, name: str, split: str, lists: DataFrame, positives: DataFrame) -> dict[str, Any]:
    """Publish a model's lists of a split and the ranks of its positives; returns their number, that of the lists of
    popular items alone, as the model knew nothing of the customer, and Recall@20.

    lists: of `rank`; positives: SEQUENCES of the split.
    """
    kept = io.materialise(f"{name}_{split}", lists)
    num_lists = io.write(RANKINGS, kept.filter(F.col("protocol").isin(*LIST_PROTOCOLS)), model=name, split=split)
    io.write(POSITIVE_RANKS, positive_ranks(kept, positives, io.read(ITEM_ID_MAP)), model=name, split=split)
    recall = recall_by_protocol(io.read(POSITIVE_RANKS, model=name, split=split), k=K)
    unscored = lists_without_scores(io.read(RANKINGS, model=name, split=split))
    return {"lists": num_lists, "lists_without_scores": unscored, "recall@20": recall}


def lists_by_protocol(asked: DataFrame, name: str, fitted: Fitted, settings: Mapping[str, ModelSettings]) -> DataFrame:
    """RANKINGS where each protocol has settings of its own; masked_seen and masked_new go with all_items."""
    general, first = settings[ALL_ITEMS], settings[FIRST_PURCHASE]
    lists = rank(asked, ranking_model(name, fitted, general), fitted.codes, LIST_LENGTH)
    if general == first:
        return lists
    others = rank(asked, ranking_model(name, fitted, first), fitted.codes, LIST_LENGTH)
    is_first = F.col("protocol") == FIRST_PURCHASE
    renamed = F.when(is_first, F.lit(MASKED_NEW)).otherwise(F.col("protocol"))
    return lists.withColumn("protocol", renamed).unionByName(others.filter(is_first))


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
    asked = io.materialise("tuning_asked", spread(with_queries(histories, drawn)))
    sampled = io.materialise("tuning_positives", positives.join(drawn, on="query_id", how="left_semi"))
    tried = {}
    for name in models:

        def recall(changes: Changes, name: str = name) -> dict[str, float]:
            model = ranking_model(name, fitted, changed(settings, changes))
            lists = rank(asked, model, fitted.codes, LIST_LENGTH)
            found = recall_by_protocol(positive_ranks(lists, sampled, io.read(ITEM_ID_MAP)), k=K)
            log.info("tuning: %s %s %s", name, dict(changes), found)
            return found

        tried[name] = tune(name, recall)
    return {"share_of_queries": share, "tried": tried, "chosen": {name: choose(found) for name, found in tried.items()}}
