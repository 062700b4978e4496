"""Which customers make up a segment, and what they bought lately."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.baselines.popularity import with_recency
from recsys_spark.contracts.model_config import CATEGORY, SegmentsConfig
from recsys_spark.contracts.model_schemas import SEGMENT_POPULARITY
from recsys_spark.sequences.places import usual_places
from recsys_spark.sequences.split import cutoff

_CATEGORIES_PER_CUSTOMER = 20  # those with most of its purchases; bounds what a customer adds
_SHARE = "decimal(9,6)"  # of a customer's purchases; decimal, so that sums do not depend on the order of rows


def fit_segment_popularity(
    interactions: DataFrame,
    item_ids: DataFrame,
    categories: DataFrame,
    cutoff_time: str,
    recent_days: int,
    options: SegmentsConfig,
) -> DataFrame:
    """SEGMENT_POPULARITY of the events up to the cutoff. categories: CATEGORY_POPULARITY of the same fit.

    A customer is of the showroom and of the channel with most of its purchases, and of each category by the share of
    these. What it bought in the last `recent_days` counts for each of them by that share.
    """
    known = interactions.filter(F.col("invoice_date") <= cutoff(cutoff_time)).join(item_ids, "stock_code", "inner")
    recent = with_recency(known, recent_days).filter("is_recent")
    bought = recent.groupBy("customer_id", "item_idx").agg(F.count(F.lit(1)).alias("num_events"))
    members = _of_places(known).unionByName(_of_categories(known, categories))
    segment = ("kind", "segment")
    sizes = members.groupBy(*segment).agg(F.count(F.lit(1)).alias("num_customers"))
    large = sizes.filter(F.col("num_customers") >= options.min_customers)
    sold = members.join(bought, on="customer_id", how="inner").groupBy(*segment, "item_idx")
    weighed = sold.agg(F.sum(F.col("share") * F.col("num_events")).cast("decimal(28,6)").alias("num_events"))
    weighed = weighed.join(F.broadcast(large), on=list(segment), how="inner")
    best = Window.partitionBy(*segment).orderBy(F.desc("num_events"), "item_idx")
    total = F.sum("num_events").over(Window.partitionBy(*segment))
    every = weighed.withColumns({"total": total.cast("double"), "rank": F.row_number().over(best)})
    kept = every.filter(F.col("rank") <= options.items_per_segment)
    return kept.withColumn("num_events", F.col("num_events").cast("double")).select(*SEGMENT_POPULARITY.names)


def _of_places(known: DataFrame) -> DataFrame:
    """kind, segment, customer_id, share of every customer and kind of place that its lines name."""
    segment, share = F.col("place").cast("string").alias("segment"), F.lit(1).cast(_SHARE).alias("share")
    return usual_places(known).select("kind", segment, "customer_id", share)


def _of_categories(known: DataFrame, categories: DataFrame) -> DataFrame:
    """The same of every customer and category that it buys from."""
    named = categories.filter("category <> ''").select("item_idx", F.col("category").alias("segment"))
    counts = known.drop("category").join(named, on="item_idx", how="inner").groupBy("customer_id", "segment").count()
    of_customer = Window.partitionBy("customer_id")
    ranked = counts.withColumns(
        {
            "share": (F.col("count") / F.sum("count").over(of_customer)).cast(_SHARE),
            "rank": F.row_number().over(of_customer.orderBy(F.desc("count"), "segment")),
        }
    )
    kept = ranked.filter(F.col("rank") <= _CATEGORIES_PER_CUSTOMER)
    return kept.select(F.lit(CATEGORY).alias("kind"), "segment", "customer_id", "share")
