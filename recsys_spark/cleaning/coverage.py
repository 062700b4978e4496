"""Items and customers with too few counterparts (off by default: over all the data, so not blind to the future)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.config import CleanConfig


def label_rare(interactions: DataFrame, config: CleanConfig) -> DataFrame:
    """Fill `rule` with rare_item and rare_customer where it is null, items then customers, round by round."""
    labelled = interactions
    thresholds = (
        ("rare_item", "stock_code", "customer_id", config.coverage.min_customers_per_item),
        ("rare_customer", "customer_id", "stock_code", config.coverage.min_items_per_customer),
    )
    for _ in range(config.coverage.rounds):
        for rule, key, counterpart, least in thresholds:
            if config.applies(rule):
                labelled = _label(labelled, rule, key, counterpart, least)
    return labelled


def _label(interactions: DataFrame, rule: str, key: str, counterpart: str, least: int) -> DataFrame:
    kept = interactions.filter(F.col("rule").isNull())
    rare = kept.groupBy(key).agg(F.countDistinct(counterpart).alias("_n")).filter(F.col("_n") < least).select(key)
    joined = interactions.join(rare.withColumn("_rare", F.lit(rule)), on=key, how="left")
    return joined.withColumn("rule", F.coalesce("rule", "_rare")).drop("_rare")
