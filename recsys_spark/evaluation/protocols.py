"""Which positives a protocol counts, and where a model's lists put them."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS
from recsys_spark.contracts.schemas import POSITIVE_RANKS


def protocols_of(is_repeat: Column) -> Column:
    """Protocols that count a positive: all_items counts every one, first_purchase only what is not a repeat."""
    everywhere, new_only = (F.lit(protocol) for protocol in LIST_PROTOCOLS)
    return F.when(is_repeat, F.array(everywhere)).otherwise(F.array(everywhere, new_only))


def counted_positives(sequences: DataFrame) -> DataFrame:
    """One row per positive and protocol that counts it: the columns of `sequences` and `protocol`."""
    return sequences.withColumn("protocol", F.explode(protocols_of(F.col("is_repeat"))))


def positive_ranks(rankings: DataFrame, sequences: DataFrame, item_id_map: DataFrame) -> DataFrame:
    """The rank of every positive under every protocol that counts it (POSITIVE_RANKS).

    rankings: RANKINGS of one model and split; sequences: SEQUENCES of that split. A positive that its list lacks,
    and every positive of a query without a list, has rank null. A list that names an item twice ranks it once, at
    the better place.
    """
    codes = item_id_map.select(F.col("item_idx").alias("pos_item_idx"), "stock_code")
    positives = counted_positives(sequences).join(codes, on="pos_item_idx", how="left")
    # One row per list and not one per listed item goes through the shuffle; its positives travel as an array.
    wanted = positives.groupBy("query_id", "protocol").agg(
        F.collect_list(F.struct("user_idx", "pos_item_idx", "stock_code")).alias("wanted")
    )
    listed = rankings.select("query_id", "protocol", "stock_codes")
    found = wanted.join(listed, on=["query_id", "protocol"], how="left").withColumn("positive", F.explode("wanted"))
    return found.select("query_id", "protocol", "positive.*", rank_in("stock_codes", "positive.stock_code")).select(
        *POSITIVE_RANKS.names
    )


def rank_in(codes: str, code: str) -> Column:
    """Rank from 1 of `code` in the array column `codes`, null beyond LIST_LENGTH or where it is not in it."""
    position = F.expr(f"array_position({codes}, {code})")
    return F.when(position.between(1, LIST_LENGTH), position.cast("int")).alias("rank")
