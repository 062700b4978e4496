"""Bounds on the log scale by interquartile range, fitted up to the training cutoff; winsorise or drop."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.config import OutlierConfig
from recsys_spark.contracts.schemas import MONEY

BOUNDED = ("quantity", "price")


def fit_bounds(interactions: DataFrame, train_end: Column, config: OutlierConfig) -> DataFrame:
    """Bounds of quantity and price: one row, or one per stock_code with scope `item`.

    Columns `<name>_low` and `<name>_high`: expm1 of the quartiles of log1p(value) -+ multiplier * IQR (Tukey's
    fences); null where the IQR is 0 or an item has fewer than `min_lines` rows. Exact quartiles with linear
    interpolation of the rows up to train_end.
    """
    known = interactions.filter(F.col("invoice_date") <= train_end)
    by = ["stock_code"] if config.scope == "item" else []
    logs = [F.log1p(F.col(name).cast("double")).alias(name) for name in BOUNDED]
    quartiles = (
        known.select(*by, *logs)
        .groupBy(*by)
        .agg(
            *(F.percentile(name, F.array(F.lit(0.25), F.lit(0.75))).alias(name) for name in BOUNDED),
            F.count(F.lit(1)).alias("num_lines"),
        )
    )
    bounds = [bound for name in BOUNDED for bound in _fences(name, config)]
    return quartiles.select(*by, *bounds)


def _fences(name: str, config: OutlierConfig) -> list[Column]:
    low, high = F.element_at(name, 1), F.element_at(name, 2)
    margin = (high - low) * config.multiplier
    usable = high > low
    if config.scope == "item":
        usable = usable & (F.col("num_lines") >= config.min_lines)
    return [
        F.when(usable, F.expm1(low - margin)).alias(f"{name}_low"),
        F.when(usable, F.expm1(high + margin)).alias(f"{name}_high"),
    ]


def with_bounds(interactions: DataFrame, bounds: DataFrame, config: OutlierConfig) -> DataFrame:
    """Put the bounds that apply beside each row."""
    if config.scope == "item":
        return interactions.join(bounds, on="stock_code", how="left")
    return interactions.crossJoin(F.broadcast(bounds))  # one row


def is_outlier() -> Column:
    """Whether quantity or price lies beyond its bounds; rows without bounds are none."""
    beyond = [_beyond(name) for name in BOUNDED]
    return beyond[0] | beyond[1]


def winsorise(bounded: DataFrame) -> DataFrame:
    """Move quantity and price to their bounds and flag the rows moved; whole quantities stay whole, and at least 1."""
    quantity = F.col("quantity").cast("double")
    is_whole = quantity == F.floor(quantity)
    whole_high = F.greatest(F.floor("quantity_high").cast("double"), F.lit(1.0))
    low = F.when(is_whole, F.ceil("quantity_low").cast("double")).otherwise(F.col("quantity_low"))
    high = F.when(is_whole, whole_high).otherwise(F.col("quantity_high"))
    moved = F.when(_beyond("quantity"), F.greatest(F.least(quantity, high), low).cast(MONEY))
    price = F.when(_beyond("price"), F.greatest(F.least("price", "price_high"), F.col("price_low")))
    return bounded.withColumns(
        {
            # A whole 1 above a bound below 1 stays where it is.
            "was_winsorised": F.coalesce(moved != F.col("quantity"), F.lit(False)) | _beyond("price"),
            "quantity": F.coalesce(moved, F.col("quantity")),
            "price": F.coalesce(price, F.col("price")),
        }
    )


def describe(bounded: DataFrame, config: OutlierConfig) -> dict[str, Any]:
    """What the report says of outliers: the bounds (scope global), rows beyond them, columns left alone."""
    counts = bounded.agg(
        *(F.count(F.when(_beyond(name), 1)).alias(name) for name in BOUNDED),
        *(F.count(F.when(F.col(f"{name}_high").isNull(), 1)).alias(f"{name}_unbounded") for name in BOUNDED),
        *(F.max(f"{name}_{side}").alias(f"{name}_{side}") for name in BOUNDED for side in ("low", "high")),
        F.count(F.lit(1)).alias("rows"),
    ).first()
    assert counts is not None
    facts: dict[str, Any] = {"mode": config.mode, "scope": config.scope, "multiplier": config.multiplier}
    for name in BOUNDED:
        facts[name] = {"rows_beyond": counts[name], "rows_left_alone": counts[f"{name}_unbounded"]}
        if config.scope == "global":
            facts[name] |= {"low": counts[f"{name}_low"], "high": counts[f"{name}_high"]}
    facts["columns_left_alone"] = [name for name in BOUNDED if counts[f"{name}_unbounded"] == counts["rows"] > 0]
    return facts


def _beyond(name: str) -> Column:
    value = F.col(name).cast("double")
    return F.coalesce((value < F.col(f"{name}_low")) | (value > F.col(f"{name}_high")), F.lit(False))
