"""Which positives a protocol counts, and where a model's lists put them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import ALL_ITEMS as ALL_ITEMS
from recsys_spark.contracts.columns import FIRST_PURCHASE as FIRST_PURCHASE
from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS
from recsys_spark.contracts.schemas import POSITIVE_RANKS

# Optimistic: it hides what a customer bought before except the positive itself, which gives every repeat away.
MASKED_SEEN = "masked_seen"
PROTOCOLS = (*LIST_PROTOCOLS, MASKED_SEEN)
MASKED_NEW = "masked_new"  # no protocol: the never bought items of the order of masked_seen, beside it


def protocols_of(is_repeat: Column) -> Column:
    """Protocols that count a positive: first_purchase leaves out repeats, the others count every positive."""
    all_items, first_purchase, masked_seen = (F.lit(protocol) for protocol in PROTOCOLS)
    counted = F.array(all_items, first_purchase, masked_seen)
    return F.when(is_repeat, F.array(all_items, masked_seen)).otherwise(counted)


def counted_positives(sequences: DataFrame) -> DataFrame:
    """One row per positive and protocol that counts it: the columns of `sequences` and `protocol`."""
    return sequences.withColumn("protocol", F.explode(protocols_of(F.col("is_repeat"))))


def positive_ranks(rankings: DataFrame, sequences: DataFrame, item_id_map: DataFrame) -> DataFrame:
    """The rank of every positive under every protocol that counts it (POSITIVE_RANKS), of lists that lie in a table.

    What stages rank, baselines/list_tables.py finds the positives of in the same task.

    rankings: RANKINGS of one model and split; sequences: SEQUENCES of that split. A positive that its list lacks,
    and every positive of a query without a list, has rank null. A list that names an item twice ranks it once, at
    the better place.

    Under masked_seen a first purchase stands where it stands among the items never bought, and a repeat behind those of
    them that the model's full order puts before it. That order is the optional list `masked_seen`: all items, bought
    before or not, down to the 100th never bought one. Without it the all_items list stands in: exact for the repeats it
    holds, and the others count as missed. Its never bought items are the first_purchase list or, of a model that orders
    that one otherwise, the list `masked_new`.
    """
    codes = item_id_map.select(F.col("item_idx").alias("pos_item_idx"), "stock_code")
    positives = sequences.join(codes, on="pos_item_idx", how="left")
    # One row per query and not one per listed item goes through the shuffle; its positives travel as an array.
    wanted = positives.groupBy("query_id").agg(
        F.collect_list(F.struct("user_idx", "pos_item_idx", "stock_code", "is_repeat")).alias("wanted")
    )
    found = (
        wanted.join(_lists_by_query(rankings), on="query_id", how="left")
        .withColumn("positive", F.explode("wanted"))
        .select("query_id", *PROTOCOLS, MASKED_NEW, "positive.*")
        .withColumn(MASKED_NEW, F.coalesce(MASKED_NEW, FIRST_PURCHASE, F.array().cast("array<string>")))
    )
    ranks = {
        ALL_ITEMS: rank_in(ALL_ITEMS, "stock_code"),
        FIRST_PURCHASE: rank_in(FIRST_PURCHASE, "stock_code"),
        MASKED_SEEN: F.when(F.col("is_repeat"), _rank_behind_new_items()).otherwise(rank_in(MASKED_NEW, "stock_code")),
    }
    each = F.array(*(F.struct(F.lit(name).alias("protocol"), rank.alias("rank")) for name, rank in ranks.items()))
    counts = f"not is_repeat or ranked.protocol <> '{FIRST_PURCHASE}'"
    ranked = found.select("query_id", "user_idx", "pos_item_idx", "is_repeat", F.explode(each).alias("ranked"))
    return ranked.filter(counts).select("*", "ranked.*").select(*POSITIVE_RANKS.names)


def rank_in(codes: str, code: str) -> Column:
    """Rank from 1 of `code` in the array column `codes`, null beyond LIST_LENGTH or where it is not in it."""
    position = F.expr(f"array_position({codes}, {code})")
    return F.when(position.between(1, LIST_LENGTH), position.cast("int"))


def _lists_by_query(rankings: DataFrame) -> DataFrame:
    """One row per query with a list in a column per protocol; null where there is none."""
    lists = [
        F.first(F.when(F.col("protocol") == protocol, F.col("stock_codes")), ignorenulls=True).alias(protocol)
        for protocol in (*PROTOCOLS, MASKED_NEW)
    ]
    return rankings.groupBy("query_id").agg(*lists)


def _rank_behind_new_items() -> Column:
    order = f"coalesce({MASKED_SEEN}, {ALL_ITEMS})"
    position = f"array_position({order}, stock_code)"
    in_front = f"slice({order}, 1, cast({position} as int) - 1)"
    num_new = F.expr(f"size(array_intersect({in_front}, {MASKED_NEW}))")
    return F.when(F.expr(f"{position} > 0") & (num_new < LIST_LENGTH), num_new + 1)


def recall_by_protocol(ranks: Mapping[str, DataFrame], k: int) -> dict[str, dict[str, float]]:
    """Recall@k per positive by model and protocol. ranks: POSITIVE_RANKS by model."""
    return _by_protocol(ranks, F.avg(F.coalesce((F.col("rank") <= k).cast("int"), F.lit(0))))


def lists_without_scores(rankings: Mapping[str, DataFrame]) -> dict[str, dict[str, int]]:
    """How many lists hold popular items alone, by model and protocol. rankings: RANKINGS by model."""
    return _by_protocol(rankings, F.count_if(F.col("num_scored") == 0))


def _by_protocol(frames: Mapping[str, DataFrame], value: Column) -> dict[str, dict[str, Any]]:
    """An aggregate of all models' frames, in one job: of a small run most of the time goes into beginning jobs."""
    every = [frame.withColumn("model", F.lit(model)) for model, frame in frames.items()]
    values = reduce(DataFrame.unionByName, every).groupBy("model", "protocol").agg(value.alias("value"))
    found: dict[str, dict[str, Any]] = {model: {} for model in frames}
    for row in values.orderBy("model", "protocol").collect():
        found[row["model"]][row["protocol"]] = row["value"]
    return found
