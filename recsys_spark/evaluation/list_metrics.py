"""What whole lists are like, whatever was bought: coverage of the catalogue, novelty, diversity.

Novelty (Vargas and Castells, RecSys 2011, with the share of sales as probability of being known) is the mean of
-log2(share of events up to the cutoff) over listed items. Diversity of a list is 1 - the mean cosine of two of its
items, each a 0/1 vector over the customers who bought it up to the cutoff: the same vectors for every model. Where
there are more customers than DIVERSITY_CUSTOMERS the vectors are over that many of them, chosen by hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.sequences.windows import ORDERS_PER_CUSTOMER

LIST_K = (5, 10, 20)
DIVERSITY_K = 20
DIVERSITY_CUSTOMERS = 5_000  # a list is joined with all of these who bought its items: 2,469 make 112 million rows
LIST_SUMS = tuple(f"{name}_{k}" for k in LIST_K for name in ("bits", "entries"))
DIVERSITY_SUMS = ("diversity", "num_lists")


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
        sums.append(F.sum(F.when(is_near, F.col("bits")).otherwise(0.0)).alias(f"bits_{k}"))
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


def customer_diversity(lists: DataFrame, users: DataFrame, buyers: DataFrame) -> DataFrame:
    """Sum of diversities and number of lists, DIVERSITY_SUMS, one row per model, protocol and customer.

    users: query_id and user_idx of the few queries that are looked at; buyers: distinct stock_code and customer_id up
    to the cutoff. Lists of fewer than two items have no pairs and are left out.
    """
    chosen = lists.join(F.broadcast(users), on="query_id", how="inner").withColumn(
        "stock_codes", F.slice("stock_codes", 1, DIVERSITY_K)
    )
    diverse = list_diversity(chosen.select("stock_codes").filter(F.size("stock_codes") >= 2).distinct(), buyers)
    return (
        chosen.join(diverse, on="stock_codes", how="inner")
        .groupBy("model", "protocol", "user_idx")
        .agg(F.sum("diversity").alias("diversity"), F.count(F.lit(1)).cast("double").alias("num_lists"))
    )


def list_diversity(lists: DataFrame, buyers: DataFrame) -> DataFrame:
    """stock_codes and their diversity; lists: distinct stock_codes of two items or more.

    With unit vectors v the sum of all cosines is |v_1 + ... + v_k|^2, so no pairs are formed: the cosines of an item
    with itself are taken off, one for each item that anyone bought. Only DIVERSITY_CUSTOMERS of the buyers count; an
    item that none of them bought is like no other.
    """
    by_hash = buyers.select("customer_id").distinct().orderBy(F.xxhash64("customer_id"), "customer_id")
    counted = buyers.join(F.broadcast(by_hash.limit(DIVERSITY_CUSTOMERS)), on="customer_id", how="left_semi")
    length = 1 / F.sqrt(F.count(F.lit(1)).over(Window.partitionBy("stock_code")))
    vectors = counted.withColumn("weight", length)
    numbered = lists.withColumn("list_id", F.xxhash64("stock_codes"))
    entries = numbered.select("list_id", F.explode("stock_codes").alias("stock_code"))
    summed = entries.join(vectors, on="stock_code", how="inner").groupBy("list_id", "customer_id")
    squares = summed.agg(F.sum("weight").alias("sum"), F.sum(F.col("weight") ** 2).alias("selves"))
    pairs = squares.groupBy("list_id").agg((F.sum(F.col("sum") ** 2) - F.sum("selves")).alias("cosines"))
    size = F.size("stock_codes")
    diversity = 1 - F.coalesce(F.col("cosines"), F.lit(0.0)) / (size * (size - 1))
    return numbered.join(pairs, on="list_id", how="left").select("stock_codes", diversity.alias("diversity"))
