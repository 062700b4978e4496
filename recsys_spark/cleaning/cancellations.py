"""Purchases that a later return reverses (option `clean.net_cancellations`)."""

from __future__ import annotations

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.cleaning.rules import CONTENT, is_return
from recsys_spark.contracts.columns import SOURCE_COLUMNS
from recsys_spark.contracts.config import CleanConfig

_MATCHED_BY = ["customer_id", "stock_code", "size", "unit_price"]
_SOURCE_DDL = "source_file string, source_sheet string, source_row bigint"


def returns_among(rejected: DataFrame) -> DataFrame:
    """REJECTED_LINES of returns."""
    # Where the rule `return` is off, the next rule that a return breaks has taken it out.
    return rejected.filter(F.col("rule").isin("return", "non_positive_quantity") & is_return())


def label_cancelled(lines: DataFrame, returns: DataFrame, config: CleanConfig) -> DataFrame:
    """Give `lines` the rule `cancelled` where a return reverses a purchase. returns: `returns_among`, typed.

    A return reverses the latest purchase before it, or at its time, of the same customer, code, quantity and price
    that no return reversed yet, so a return after a cutoff may take out a purchase before it. Copies of purchases and
    of returns do not take part while the rule exact_duplicate is on.
    """
    returns = returns.filter("units < 0")
    if config.applies("exact_duplicate"):
        returns = returns.dropDuplicates([*CONTENT])
    moves = lines.filter("rule is null or rule <> 'exact_duplicate'").select(
        "customer_id", "stock_code", "invoice_date", "quantity", "line_amount", "source"
    )
    reversals = returns.select(
        F.col("customer").alias("customer_id"),
        F.col("code").alias("stock_code"),
        F.col("time").alias("invoice_date"),
        F.col("units").alias("quantity"),
        F.col("amount").alias("line_amount"),
        F.struct(*SOURCE_COLUMNS).alias("source"),
    )
    matchable = _matchable(moves).unionByName(_matchable(reversals))
    reversed_groups = matchable.filter("is_return").select(*_MATCHED_BY).distinct()
    matched = matchable.join(reversed_groups, on=_MATCHED_BY, how="left_semi")
    cancelled = matched.groupBy(*_MATCHED_BY).applyInPandas(_match, _SOURCE_DDL)
    refs = cancelled.select(F.struct(*SOURCE_COLUMNS).alias("source"), F.lit("cancelled").alias("_cancelled"))
    joined = lines.join(refs, on="source", how="left")
    return joined.withColumn("rule", F.coalesce("_cancelled", "rule")).drop("_cancelled")


def _matchable(moves: DataFrame) -> DataFrame:
    unit_price = F.round(F.abs(F.col("line_amount") / F.col("quantity")), 4)
    return moves.select(
        "customer_id",
        "stock_code",
        F.abs("quantity").cast("string").alias("size"),
        unit_price.cast("string").alias("unit_price"),
        "invoice_date",
        (F.col("quantity") < 0).alias("is_return"),
        *(F.col(f"source.{name}").alias(name) for name in SOURCE_COLUMNS),
    )


def _match(moves: pd.DataFrame) -> pd.DataFrame:
    """Match each return of one customer, code, quantity and price with the latest open purchase."""
    source = list(SOURCE_COLUMNS)
    ordered = moves.sort_values(["invoice_date", "is_return", *source])
    open_purchases: list[int] = []
    cancelled: list[int] = []
    for position, goes_back in enumerate(ordered["is_return"]):
        if not goes_back:
            open_purchases.append(position)
        elif open_purchases:
            cancelled.append(open_purchases.pop())
    return ordered.iloc[cancelled][source]
