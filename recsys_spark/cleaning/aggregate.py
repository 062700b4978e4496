"""Exact duplicates out, then one row per (customer, item, time)."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.cleaning.rules import content_hash, first_rule, is_non_product
from recsys_spark.cleaning.text import filled, single_spaced
from recsys_spark.contracts.columns import INTERACTION_KEY, SOURCE_COLUMNS
from recsys_spark.contracts.config import CleanConfig
from recsys_spark.contracts.schemas import MONEY

_ATTRIBUTES = ("brand", "category", "showroom", "sales_channel")
# Taken from the first source line of a group.
_FIRST_OF_GROUP = ("invoice_id", "description", *_ATTRIBUTES)
_DROPPED_DDL = "struct<rule:string,source:struct<source_file:string,source_sheet:string,source_row:bigint>>"


def passed_columns(config: CleanConfig) -> list[Column]:
    """What is kept of a labelled line that broke no rule of its own, under the names of interactions."""
    return [
        F.col("customer").alias("customer_id"),
        F.col("code").alias("stock_code"),
        F.col("time").alias("invoice_date"),
        F.col("invoice_id"),
        F.col("text").alias("description"),
        *(F.col(name) for name in _ATTRIBUTES),
        F.col("units").alias("quantity"),
        F.col("amount").alias("line_amount"),
        *(F.col(name) for name in SOURCE_COLUMNS),
        F.xxhash64("customer", "code", "time").alias("key_hash"),
        content_hash().alias("content_hash"),
        is_non_product(config).alias("is_non_product"),
    ]


def repeated_keys(lines: DataFrame) -> DataFrame:
    """key_hash of the interaction keys that occur on more than one line (and of the rare keys that share a hash)."""
    return lines.groupBy("key_hash").agg(F.count(F.lit(1)).alias("lines")).filter("lines > 1").select("key_hash")


def single_lines(lines: DataFrame) -> DataFrame:
    """Lines whose key no other line has, in the shape of `grouped_lines`."""
    is_dropped = F.col("is_non_product")
    source = F.struct(*SOURCE_COLUMNS)
    dropped = F.array(F.struct(F.lit("non_product").alias("rule"), source.alias("source")))
    return _finished(
        lines.select(
            *INTERACTION_KEY,
            *_FIRST_OF_GROUP,
            "quantity",
            "line_amount",
            F.when(is_dropped, F.lit(0)).otherwise(F.lit(1)).cast("bigint").alias("num_lines"),
            F.when(is_dropped, dropped).otherwise(F.array().cast(f"array<{_DROPPED_DDL}>")).alias("dropped"),
            F.array(source).alias("sources"),
        )
    )


def label_copies(lines: DataFrame, config: CleanConfig) -> DataFrame:
    """Lines with `source` and `rule`: exact_duplicate for all but the first of equal ones, else non_product or null."""
    sourced = lines.withColumn("source", F.struct(*SOURCE_COLUMNS)).repartition("key_hash")
    conditions = {"non_product": F.col("is_non_product")}
    if config.applies("exact_duplicate"):
        # By hash first: comparing longs settles nearly every comparison of the sort.
        same = Window.partitionBy("key_hash", *INTERACTION_KEY, "content_hash").orderBy("source")
        sourced = sourced.withColumn("copy", F.row_number().over(same))
        conditions = {"exact_duplicate": F.col("copy") > 1, **conditions}
    return sourced.withColumn("rule", first_rule(conditions))


def grouped_lines(lines: DataFrame) -> DataFrame:
    """One row per interaction key: sums, the other columns from the first source line, price = sum / sum.

    lines: of `label_copies`. Lines with a rule are counted in no sum; `dropped` lists them as (rule, source), and
    `sources` the others. A group that lost all its lines stays with num_lines = 0, for what it dropped.
    """
    kept = F.col("rule").isNull()
    grouped = lines.groupBy("key_hash", *INTERACTION_KEY).agg(
        F.min(F.when(kept, F.struct("source", *_FIRST_OF_GROUP))).alias("first"),
        *(F.sum(F.when(kept, F.col(name))).cast(MONEY).alias(name) for name in ("quantity", "line_amount")),
        F.count(F.when(kept, 1)).alias("num_lines"),
        F.array_sort(F.collect_list(F.when(~kept, F.struct("rule", "source")))).alias("dropped"),
        F.array_sort(F.collect_list(F.when(kept, F.col("source")))).alias("sources"),
    )
    return _finished(
        grouped.select(
            *INTERACTION_KEY,
            *(F.col(f"first.{name}").alias(name) for name in _FIRST_OF_GROUP),
            "quantity",
            "line_amount",
            "num_lines",
            "dropped",
            "sources",
        )
    )


def _finished(grouped: DataFrame) -> DataFrame:
    """With price, and with the attributes in one spelling; until here the source's own told copies apart."""
    price = F.col("line_amount").cast("double") / F.col("quantity").cast("double")
    texts = {name: single_spaced(F.col(name)) for name in _ATTRIBUTES}
    return grouped.withColumns({"price": price, "invoice_id": filled(F.col("invoice_id")), **texts})
