"""The positives of a split with what all models share, and the hits of each model among them.

The number of positives comes from `sequences` and never from a model, so a positive, a query or a customer that a model
left out counts as missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.evaluation.protocols import counted_positives
from recsys_spark.sequences.split import cutoff, iso_in_utc


def customer_activity(interactions: DataFrame, customer_id_map: DataFrame, cutoff_time: str) -> DataFrame:
    """user_idx, num_events (up to the cutoff) and first_time (of all events) of every customer.

    cutoff_time: ISO time in UTC; an event at exactly the cutoff counts.
    """
    is_early = F.col("invoice_date") <= cutoff(cutoff_time)
    events = interactions.groupBy("customer_id").agg(
        F.count_if(is_early).alias("num_events"), F.min("invoice_date").alias("first_time")
    )
    return events.join(customer_id_map, on="customer_id", how="inner").select("user_idx", "num_events", "first_time")


def positive_facts(sequences: DataFrame, eligible_items: DataFrame, customers: DataFrame) -> DataFrame:
    """One row per positive and protocol that counts it.

    sequences: SEQUENCES of a split; eligible_items: item_idx with an event up to the cutoff; customers:
    customer_activity. Adds protocol, num_relevant (the query's positives under the protocol), is_cold_item, and
    num_events and is_cold_customer (none up to the cutoff).
    """
    items = eligible_items.select(F.col("item_idx").alias("pos_item_idx"), F.lit(False).alias("is_cold_item"))
    basket = Window.partitionBy("query_id", "protocol")
    return (
        counted_positives(sequences.select("query_id", "user_idx", "pos_item_idx", "line_amount", "is_repeat"))
        .withColumn("num_relevant", F.count(F.lit(1)).over(basket))
        .join(items, on="pos_item_idx", how="left")
        .join(customers.select("user_idx", "num_events"), on="user_idx", how="left")
        .fillna({"is_cold_item": True, "num_events": 0})
        .withColumn("is_cold_customer", F.col("num_events") == 0)
    )


def hits(facts: DataFrame, ranks: Mapping[str, DataFrame]) -> DataFrame:
    """Positives that a model ranked: the columns of positive_facts, `model` and `rank`.

    ranks: POSITIVE_RANKS by model name. A rank of what is no positive of the protocol is ignored.
    """
    key = ["query_id", "pos_item_idx", "protocol"]
    named = [frame.select(*key, "rank", F.lit(model).alias("model")) for model, frame in ranks.items()]
    found = reduce(DataFrame.unionByName, named).filter(F.col("rank").isNotNull())
    return facts.join(found, on=key, how="inner")


def judged(frame: DataFrame, split: str, test_end: str | None) -> DataFrame:
    """The rows of a split's SEQUENCES or QUERIES that are judged: of test those up to `evaluation.test_end`."""
    if split != "test" or not test_end:
        return frame
    return frame.filter(F.col("event_time") <= cutoff(iso_in_utc(test_end, "evaluation.test_end")))


def of_judged(frame: DataFrame, queries: DataFrame, split: str, test_end: str | None) -> DataFrame:
    """The rows of a frame with a query_id whose queries are judged. queries: QUERIES or SEQUENCES of the split."""
    if split != "test" or not test_end:
        return frame
    return frame.join(judged(queries, split, test_end).select("query_id"), on="query_id", how="left_semi")
