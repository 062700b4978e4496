"""Items and customers with too few counterparts (off by default: over all the data, so not blind to the future)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.config import CleanConfig
from recsys_spark.frames import Materialise

_PAIR = ["customer_id", "stock_code"]


def label_rare(interactions: DataFrame, config: CleanConfig, materialise: Materialise) -> DataFrame:
    """Fill `rule` with rare_item and rare_customer where it is null, items then customers, round by round.

    Each step reads what all steps before it found. It is kept on disk, as the plan of the last would otherwise hold all
    earlier ones several times over, in every round anew.
    """
    thresholds = (
        ("rare_item", "stock_code", "customer_id", config.coverage.min_customers_per_item),
        ("rare_customer", "customer_id", "stock_code", config.coverage.min_items_per_customer),
    )
    steps = [step for _ in range(config.coverage.rounds) for step in thresholds if config.applies(step[0])]
    if not steps:
        return interactions
    kept = interactions.filter("rule is null").select(*_PAIR).distinct()
    pairs = materialise("pairs", kept.withColumn("_rare", F.lit(None).cast("string")))
    for number, step in enumerate(steps):
        pairs = materialise(f"pairs_{number}", _label(pairs, *step))
    joined = interactions.join(pairs.filter("_rare is not null"), on=_PAIR, how="left")
    return joined.withColumn("rule", F.coalesce("rule", "_rare")).drop("_rare")


def _label(pairs: DataFrame, rule: str, key: str, counterpart: str, least: int) -> DataFrame:
    """Fill `_rare` with the rule where it is null and the key has fewer counterparts than `least`."""
    kept = pairs.filter(F.col("_rare").isNull())
    rare = kept.groupBy(key).agg(F.count(counterpart).alias("_n")).filter(F.col("_n") < least).select(key)
    joined = pairs.join(rare.withColumn("_rule", F.lit(rule)), on=key, how="left")
    return joined.select(*_PAIR, F.coalesce("_rare", "_rule").alias("_rare"))
