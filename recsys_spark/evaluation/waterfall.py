"""Why positives were missed: each has one cause, and hits and causes add up to all positives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation.protocols import MASKED_SEEN
from recsys_spark.evaluation.ranking_metrics import HEADLINE

# A missed positive has the first cause that holds.
CAUSES = ("item_cold", "not_retrieved", "lost_by_index", "ranked_below_k")


def reached_by_lists(facts: DataFrame, rankings: Mapping[str, DataFrame]) -> DataFrame:
    """What single-stage models could rank: every positive with an eligible item, of a query that has a list.

    facts: positive_facts; rankings: RANKINGS by model name. Returns model, protocol, reached (positives that were
    among the candidates) and lost (those that an approximate index failed to find: none here).
    """
    warm = facts.groupBy("query_id", "protocol").agg(F.count_if(~F.col("is_cold_item")).alias("reached"))
    named = [frame.select("query_id", "protocol", F.lit(model).alias("model")) for model, frame in rankings.items()]
    # masked_seen needs no list of its own.
    protocols = F.explode(F.array("protocol", F.lit(MASKED_SEEN))).alias("protocol")
    has_list = reduce(DataFrame.unionByName, named).select("model", "query_id", protocols).distinct()
    listed = has_list.join(warm, on=["query_id", "protocol"], how="inner")
    return listed.groupBy("model", "protocol").agg(F.sum("reached").alias("reached"), F.lit(0).alias("lost"))


def reached_by_candidates(facts: DataFrame, found: DataFrame, model: str, candidates: DataFrame) -> DataFrame:
    """The same of a two-stage model: positives among its CANDIDATES, or among the popular items behind them.

    found: hits, with the columns of facts.
    """
    key = ("query_id", "pos_item_idx", "protocol")
    is_candidate = F.array_contains("items", F.col("pos_item_idx").cast("int"))
    among = facts.join(candidates.select("query_id", "items"), on="query_id", how="inner").filter(is_candidate)
    behind = found.filter(F.col("model") == model)
    warm = among.select(*key, "is_cold_item").unionByName(behind.select(*key, "is_cold_item")).distinct()
    return (
        warm.filter(~F.col("is_cold_item"))
        .groupBy(F.lit(model).alias("model"), "protocol")
        .agg(F.count(F.lit(1)).alias("reached"), F.lit(0).alias("lost"))
    )


def count_positives(facts: DataFrame, found: DataFrame, reached: DataFrame) -> DataFrame:
    """The counts that `waterfall` takes, as rows of model (empty: of all models), protocol, name and count.

    found: hits, with the columns of facts; reached: reached_by_lists.
    """
    temperature = F.when(F.col("is_cold_item"), "cold").otherwise("warm")
    near = found.filter(F.col("rank") <= HEADLINE.k)
    parts = (
        _counts(facts, F.lit(""), temperature, F.count(F.lit(1))),
        _counts(near, F.col("model"), F.concat(F.lit("hit_"), temperature), F.count(F.lit(1))),
        _counts(reached, F.col("model"), F.lit("reached"), F.sum("reached")),
        _counts(reached, F.col("model"), F.lit("lost"), F.sum("lost")),
    )
    return reduce(DataFrame.unionByName, parts)


def _counts(frame: DataFrame, model: Column, name: Column, count: Column) -> DataFrame:
    return frame.groupBy(model.alias("model"), "protocol", name.alias("name")).agg(count.alias("count"))


def waterfall(counts: Mapping[str, int]) -> dict[str, Any]:
    """Hits and causes of one model and protocol, and end-to-end recall as the product of its two parts.

    counts: positives that are `warm` and `cold` (item not eligible), hits among them, and of the warm ones how many
    were `reached` and `lost`; a name that is not there is 0.

    >>> found = waterfall({"cold": 1, "warm": 9, "reached": 8, "lost": 0, "hit_warm": 2})
    >>> found["causes"]
    {'item_cold': 1, 'not_retrieved': 1, 'lost_by_index': 0, 'ranked_below_k': 6}
    >>> found["end_to_end"]
    {'retrieved': 0.8, 'recall_within': 0.25, 'recall': 0.2}
    """
    total = counts.get("cold", 0) + counts.get("warm", 0)
    hit = counts.get("hit_cold", 0) + counts.get("hit_warm", 0)
    reached, lost = counts.get("reached", 0), counts.get("lost", 0)
    lost_in_order = (
        counts.get("cold", 0) - counts.get("hit_cold", 0),
        counts.get("warm", 0) - reached - lost,
        lost,
        reached - counts.get("hit_warm", 0),
    )
    retrieved = reached + counts.get("hit_cold", 0)
    return {
        "hits": hit,
        "causes": dict(zip(CAUSES, lost_in_order, strict=True)),
        "end_to_end": {
            "retrieved": retrieved / total if total else None,
            "recall_within": hit / retrieved if retrieved else None,
            "recall": hit / total if total else None,
        },
    }
