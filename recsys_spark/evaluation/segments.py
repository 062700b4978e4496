"""Parts of the positives that are scored apart: repeat or first purchase, warm or cold, activity, history, category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation.exact import exact_sum
from recsys_spark.evaluation.protocols import ALL_ITEMS
from recsys_spark.evaluation.ranking_metrics import HEADLINE, PER_POSITIVE, Metric, positive_value
from recsys_spark.sequences.windows import ORDERS_PER_CUSTOMER

SEGMENT_METRICS = tuple(Metric(PER_POSITIVE, kind, HEADLINE.k) for kind in ("recall", "ndcg", "mrr"))
SEGMENT_TOTALS = ("num_positives",)
# In brackets, as sources have categories `other` and `none` of their own.
OTHER = "(other)"  # categories beyond the largest
NO_CATEGORY = "(none)"
SEPARATOR = "\t"  # between the parts of a name; of these only the last, such as a category, may hold one itself


def with_segments(facts: DataFrame, items: DataFrame, max_categories: int) -> DataFrame:
    """Add `segments` and `customer_segments`: names of the segments that the positive and its customer belong to.

    A name is kind, SEPARATOR, value.

    facts: positive_facts; items: item_idx and category. Activity terciles are of the customers in the facts by their
    events up to the cutoff; customers without any are cold and in no tercile. The categories with most positives of
    all_items keep their names, equal ones in the order of their names. The history of a customer's second order is one
    order.
    """
    customers = facts.filter(~F.col("is_cold_customer")).select("user_idx", "num_events").distinct()
    bounds = customers.agg(F.percentile("num_events", [1 / 3, 2 / 3]).alias("terciles"))
    categories = items.select(
        F.col("item_idx").alias("pos_item_idx"), F.coalesce("category", F.lit(NO_CATEGORY)).alias("category")
    )
    named = facts.join(categories, on="pos_item_idx", how="left").fillna(NO_CATEGORY, ["category"])
    counts = named.filter(F.col("protocol") == ALL_ITEMS).groupBy("category").count()
    largest = counts.orderBy(F.desc("count"), "category").limit(max_categories)
    kept = largest.select("category", F.lit(True).alias("is_kept"))
    category = F.when(F.col("is_kept"), F.col("category")).otherwise(OTHER)
    activity = (
        F.when(F.col("is_cold_customer"), "cold")
        .when(F.col("num_events") <= F.col("terciles")[0], "low")
        .when(F.col("num_events") <= F.col("terciles")[1], "middle")
        .otherwise("high")
    )
    of_positive = {
        "purchase": F.when(F.col("is_repeat"), "repeat").otherwise("first"),
        "item": F.when(F.col("is_cold_item"), "cold").otherwise("warm"),
        "history": F.when(F.col("query_id") % ORDERS_PER_CUSTOMER == 2, "one_order").otherwise("more_orders"),
        "category": category,
    }
    of_customer = {"customer": F.when(F.col("is_cold_customer"), "cold").otherwise("warm"), "activity": activity}
    return (
        named.join(F.broadcast(kept), on="category", how="left")
        .crossJoin(F.broadcast(bounds))
        .withColumns({"segments": _names(of_positive), "customer_segments": _names(of_customer)})
        .drop("category", "is_kept", "terciles")
    )


def customer_segment_hits(found: DataFrame) -> DataFrame:
    """Sums of SEGMENT_METRICS, one row per model, protocol, segment and customer with a hit."""
    near = found.filter(F.col("rank") <= HEADLINE.k)
    sums = [exact_sum(positive_value(m, F.col("rank"), F.col("line_amount"))).alias(m.column) for m in SEGMENT_METRICS]
    return _by_segment(near, ("model", "protocol"), sums)


def customer_segment_totals(facts: DataFrame) -> DataFrame:
    """Positives that could be hit, one row per protocol, segment and customer."""
    return _by_segment(facts, ("protocol",), [F.count(F.lit(1)).alias("num_positives")])


def _by_segment(frame: DataFrame, keys: Sequence[str], sums: Sequence[Column]) -> DataFrame:
    """Aggregates by keys, segment and customer. A customer's own segments are added when its sums are known."""
    each = frame.withColumn("segment", F.explode("segments"))
    by_positive = each.groupBy(*keys, "segment", "user_idx").agg(*sums)
    whole = frame.groupBy(*keys, "user_idx").agg(*sums, F.first("customer_segments").alias("customer_segments"))
    by_customer = whole.withColumn("segment", F.explode("customer_segments")).drop("customer_segments")
    return by_positive.unionByName(by_customer)


def _names(values: Mapping[str, Column]) -> Column:
    return F.array(*(F.concat_ws(SEPARATOR, F.lit(kind), value) for kind, value in values.items()))
