"""Sums that the catalogue and the customer table share. They describe all data and never feed a model."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_TOTAL = "decimal(28,4)"


def of_interactions() -> list[Column]:
    """Statistics of a group of interactions."""
    return [
        F.count(F.lit(1)).alias("num_interactions"),
        F.sum("quantity").alias("total_quantity"),
        F.sum("line_amount").alias("total_amount"),
        F.min("invoice_date").alias("first_time"),
        F.max("invoice_date").alias("last_time"),
    ]


def of_groups() -> list[Column]:
    """The same statistics of groups that `of_interactions` made."""
    return [
        F.sum("num_interactions").alias("num_interactions"),
        F.sum("total_quantity").cast(_TOTAL).alias("total_quantity"),
        F.sum("total_amount").cast(_TOTAL).alias("total_amount"),
        F.min("first_time").alias("first_time"),
        F.max("last_time").alias("last_time"),
    ]


def commonest_texts(interactions: DataFrame, key: str, columns: tuple[str, ...]) -> DataFrame:
    """For each key the commonest text of each column; among equals the latest, then the first by alphabet.

    The commonest, not the latest: shops write "damaged" or "?" over a description for one line. Blank cells have no
    vote, and each column is counted on its own: lines that name no category say nothing against one.
    """
    combinations = interactions.groupBy(key, *columns).agg(
        F.count(F.lit(1)).alias("lines"), F.max("invoice_date").alias("latest")
    )
    cells = F.array(*(F.struct(F.lit(name).alias("column"), F.col(name).alias("text")) for name in columns))
    texts = combinations.select(key, "lines", "latest", F.inline(cells)).groupBy(key, "column", "text")
    counted = texts.agg(F.sum("lines").alias("lines"), F.max("latest").alias("latest"))
    # The greatest is wanted first by count and time, so these are negated and the least struct taken.
    order = F.struct(-F.col("lines"), -F.unix_micros("latest"), "text")
    filled = F.col("text").isNotNull()
    least = [F.min(F.when(filled & (F.col("column") == name), order)).alias(name) for name in columns]
    return counted.groupBy(key).agg(*least).select(key, *(F.col(f"{name}.text").alias(name) for name in columns))
