"""What whole lists are like, whatever was bought: coverage of the catalogue and novelty.

Novelty (Vargas and Castells, RecSys 2011, with the share of sales as probability of being known) is the mean of
-log2(share of events up to the cutoff) over listed items.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.evaluation.exact import exact_sum
from recsys_spark.sequences.windows import ORDERS_PER_CUSTOMER

LIST_K = (5, 10, 20)
LIST_SUMS = tuple(f"{name}_{k}" for k in LIST_K for name in ("bits", "entries"))


def all_lists(rankings: Mapping[str, DataFrame]) -> DataFrame:
    """The first items of every list: model, protocol, query_id, stock_codes. rankings: RANKINGS by model name."""
    named = [frame.withColumn("model", F.lit(model)) for model, frame in rankings.items()]
    head = F.slice("stock_codes", 1, max(LIST_K)).alias("stock_codes")
    scored = F.col("protocol").isin(*LIST_PROTOCOLS)  # the order kept for masked_seen is no list to show
    return reduce(DataFrame.unionByName, named).filter(scored).select("model", "protocol", "query_id", head)


def item_bits(popularity: DataFrame, item_id_map: DataFrame) -> DataFrame:
    """stock_code and bits = -log2(share of events) of the eligible items (ITEM_POPULARITY)."""
    total = F.broadcast(popularity.agg(F.sum("num_events").alias("total")))
    bits = -F.log2(F.col("num_events") / F.col("total"))
    known = popularity.join(item_id_map, on="item_idx", how="inner").crossJoin(total)
    return known.select("stock_code", bits.alias("bits"))


def customer_list_sums(lists: DataFrame, bits: DataFrame) -> DataFrame:
    """Bits and number of the items in the top K, LIST_SUMS, one row per model, protocol and customer.

    lists: all_lists; bits: item_bits. An item without an event is counted nowhere.
    """
    user = F.expr(f"query_id div {ORDERS_PER_CUSTOMER}").alias("user_idx")
    listed = lists.select("model", "protocol", user, F.posexplode("stock_codes").alias("place", "stock_code"))
    known = listed.join(bits, on="stock_code", how="inner")
    sums = []
    for k in LIST_K:
        is_near = F.col("place") < k
        sums.append(exact_sum(F.when(is_near, F.col("bits")).otherwise(0.0)).alias(f"bits_{k}"))
        sums.append(F.count(F.when(is_near, True)).cast("double").alias(f"entries_{k}"))
    return known.groupBy("model", "protocol", "user_idx").agg(*sums)


def coverage(lists: DataFrame, bits: DataFrame) -> DataFrame:
    """Share of the eligible items in the top K of any list: model, protocol, coverage_<k>."""
    first = lists.select("model", "protocol", F.posexplode("stock_codes").alias("place", "stock_code"))
    first = first.groupBy("model", "protocol", "stock_code").agg(F.min("place").alias("place"))
    eligible = bits.agg(F.count(F.lit(1)).alias("num_items"))
    shares = [(F.count(F.when(F.col("place") < k, True)) / F.max("num_items")).alias(f"coverage_{k}") for k in LIST_K]
    known = first.join(bits.select("stock_code"), on="stock_code", how="inner").crossJoin(F.broadcast(eligible))
    return known.groupBy("model", "protocol").agg(*shares)
