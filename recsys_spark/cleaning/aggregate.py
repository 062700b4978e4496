"""Exact duplicates out, then one row per (customer, item, date)."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.cleaning.rules import content_hashes, first_rule, is_non_product
from recsys_spark.contracts.columns import INTERACTION_KEY, SOURCE_COLUMNS
from recsys_spark.contracts.config import CleanConfig
from recsys_spark.contracts.schemas import MONEY

# Taken from the first source line of a group.
_FIRST_OF_GROUP = ("invoice_id", "description", "brand", "category", "showroom", "sales_channel")
# Sums run on whole ten-thousandths: a long adds ten times faster than a decimal of 28 digits, and as exactly.
_UNITS_PER_ONE = 10_000


def sellable_lines(passed: DataFrame, config: CleanConfig) -> DataFrame:
    """Lines that broke no rule so far, under the names of interactions, with `rule` for duplicates and non-products.

    Duplicates share their key, so both this and the aggregation below work on one exchange by that key.
    """
    source = F.struct(*SOURCE_COLUMNS).alias("source")
    lines = passed.select(
        F.col("customer").alias("customer_id"),
        F.col("code").alias("stock_code"),
        F.col("time").alias("invoice_date"),
        "invoice_id",
        F.col("text").alias("description"),
        *(tidy_optional(name) for name in _FIRST_OF_GROUP[2:]),
        "units",
        "amount",
        source,
        is_non_product(config).alias("is_non_product"),
        *(content_hashes() if config.applies("exact_duplicate") else []),
    ).repartition(*INTERACTION_KEY)
    conditions = {"non_product": F.col("is_non_product")}
    if config.applies("exact_duplicate"):
        same = Window.partitionBy(*INTERACTION_KEY, "content_1", "content_2").orderBy("source")
        lines = lines.withColumn("copy", F.row_number().over(same))
        conditions = {"exact_duplicate": F.col("copy") > 1, **conditions}
    return lines.withColumn("rule", first_rule(conditions)).drop("is_non_product", "content_1", "content_2", "copy")


def tidy_optional(name: str) -> Column:
    """A text column trimmed, null where it is blank."""
    trimmed = F.trim(name)
    return F.when(trimmed != "", trimmed).alias(name)


def aggregate_lines(lines: DataFrame, keep_sources: bool) -> DataFrame:
    """One row per interaction key: sums, the other columns from the first source line, price = sum / sum.

    Lines with a rule are counted in no sum; `dropped` lists them as (rule, source). With `keep_sources` the column
    `sources` lists the others, for rules that later reject whole interactions.
    """
    kept = F.col("rule").isNull()
    first = F.min(F.when(kept, F.struct("source", *_FIRST_OF_GROUP))).alias("first")
    grouped = lines.groupBy(*INTERACTION_KEY).agg(
        first,
        _exact_sum("units").alias("quantity"),
        _exact_sum("amount").alias("line_amount"),
        F.count(F.when(kept, 1)).alias("num_lines"),
        F.collect_list(F.when(~kept, F.struct("rule", "source"))).alias("dropped"),
        *([F.collect_list(F.when(kept, F.col("source"))).alias("sources")] if keep_sources else []),
    )
    price = F.col("line_amount").cast("double") / F.col("quantity").cast("double")
    return grouped.select(
        *INTERACTION_KEY,
        *(F.col(f"first.{name}").alias(name) for name in _FIRST_OF_GROUP),
        "quantity",
        "line_amount",
        price.alias("price"),
        "num_lines",
        "dropped",
        *(["sources"] if keep_sources else []),
    )


def _exact_sum(name: str) -> Column:
    scaled = (F.col(name) * _UNITS_PER_ONE).cast("bigint")
    total = F.sum(F.when(F.col("rule").isNull(), scaled))
    return (total.cast("decimal(20,0)") / _UNITS_PER_ONE).cast(MONEY)
