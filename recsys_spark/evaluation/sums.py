"""What every mean is made of: sums per customer, of the hits of each model and of all that could be hit.

The number of positives comes from `sequences` and never from a model, so a positive, a query or a customer that a model
left out counts as missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.evaluation.protocols import counted_positives
from recsys_spark.evaluation.ranking_metrics import (
    BASKET_METRICS,
    METRICS,
    POSITIVE_METRICS,
    basket_value,
    positive_value,
)

TOTALS = ("num_positives", "total_amount", "num_queries")


def positive_facts(sequences: DataFrame, eligible_items: DataFrame, known_customers: DataFrame) -> DataFrame:
    """One row per positive and protocol that counts it, with what all models share.

    sequences: SEQUENCES of a split; eligible_items: item_idx with an event up to the cutoff; known_customers: user_idx
    with one. Adds protocol, num_relevant (the query's positives under the protocol), is_cold_item, is_cold_customer.
    """
    items = eligible_items.select(F.col("item_idx").alias("pos_item_idx"), F.lit(True).alias("item_is_known"))
    customers = known_customers.select("user_idx", F.lit(True).alias("customer_is_known"))
    basket = Window.partitionBy("query_id", "protocol")
    return (
        counted_positives(sequences.select("query_id", "user_idx", "pos_item_idx", "line_amount", "is_repeat"))
        .withColumn("num_relevant", F.count(F.lit(1)).over(basket))
        .join(items, on="pos_item_idx", how="left")
        .join(customers, on="user_idx", how="left")
        .withColumn("is_cold_item", F.col("item_is_known").isNull())
        .withColumn("is_cold_customer", F.col("customer_is_known").isNull())
        .drop("item_is_known", "customer_is_known")
    )


def hits(facts: DataFrame, ranks: Mapping[str, DataFrame]) -> DataFrame:
    """Positives that a model ranked: the columns of positive_facts, `model` and `rank`.

    ranks: POSITIVE_RANKS by model name. A rank of what is no positive of the protocol is ignored.
    """
    named = [frame.withColumn("model", F.lit(model)) for model, frame in ranks.items()]
    found = reduce(DataFrame.unionByName, named).filter(F.col("rank").isNotNull())
    return facts.join(
        found.select("query_id", "pos_item_idx", "protocol", "model", "rank"),
        on=["query_id", "pos_item_idx", "protocol"],
        how="inner",
    )


def customer_hits(found: DataFrame) -> DataFrame:
    """Sums of every metric, one row per model, protocol and customer with a hit; columns as in METRICS."""
    by_query = found.groupBy("model", "protocol", "user_idx", "query_id").agg(
        F.max("num_relevant").alias("num_relevant"),
        *(
            _sum(positive_value(metric, F.col("rank"), F.col("line_amount")), metric.column)
            for metric in POSITIVE_METRICS
        ),
    )
    with_baskets = by_query.withColumns(
        {metric.column: basket_value(metric, F.col("num_relevant")) for metric in BASKET_METRICS}
    )
    return with_baskets.groupBy("model", "protocol", "user_idx").agg(
        *(_sum(F.col(metric.column), metric.column) for metric in METRICS)
    )


def customer_totals(facts: DataFrame) -> DataFrame:
    """What could be hit, one row per protocol and customer; columns as in TOTALS."""
    by_query = facts.groupBy("protocol", "user_idx", "query_id").agg(
        F.count(F.lit(1)).alias("num_positives"), _sum(F.col("line_amount"), "total_amount")
    )
    return by_query.groupBy("protocol", "user_idx").agg(
        _sum(F.col("num_positives"), "num_positives"),
        _sum(F.col("total_amount"), "total_amount"),
        F.count(F.lit(1)).alias("num_queries"),
    )


def _sum(value: Column, name: str) -> Column:
    return F.sum(value).alias(name)
