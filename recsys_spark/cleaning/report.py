"""cleaning_report.json: the funnel with counts, units and money, and the law that accounts for every line."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys_spark.cleaning.numbers import parse_decimal
from recsys_spark.contracts.config import CLEAN_RULES, INGEST_RULES, CleanConfig
from recsys_spark.contracts.errors import DataError


def funnel(raw_rows: int, interactions: DataFrame, rejected: DataFrame, config: CleanConfig) -> dict[str, Any]:
    """Lines, units and money that each rule took out, in the rules' order; `kept`: those of the interactions.

    Raises DataError unless lines read = lines in interactions + lines rejected.
    """
    units, money = parse_decimal(F.col("quantity")), parse_decimal(F.col("line_amount"))
    totals = (F.count(F.lit(1)).alias("lines"), F.sum(units).alias("units"), F.sum(money).alias("money"))
    by_rule = {row["rule"]: row for row in rejected.groupBy("rule").agg(*totals).collect()}
    kept = interactions.agg(
        F.coalesce(F.sum("num_lines"), F.lit(0)).alias("lines"),
        F.sum("quantity").alias("units"),
        F.sum("line_amount").alias("money"),
        F.count(F.lit(1)).alias("interactions"),
        F.date_format(F.min("invoice_date"), "yyyy-MM-dd HH:mm:ss").alias("first_date"),
        F.date_format(F.max("invoice_date"), "yyyy-MM-dd HH:mm:ss").alias("last_date"),
        F.count(F.when(F.col("was_winsorised"), 1)).alias("winsorised"),
    ).first()
    assert kept is not None
    num_rejected = sum(row["lines"] for row in by_rule.values())
    check_law(raw_rows, kept["lines"], num_rejected)
    return {
        "lines_read": raw_rows,
        "lines_kept": kept["lines"],
        "lines_rejected": num_rejected,
        "rules": [
            {"rule": rule, "applied": config.applies(rule), **_totals(by_rule.get(rule))}
            for rule in INGEST_RULES + CLEAN_RULES
        ],
        "kept": {
            **_totals(kept),
            **{name: kept[name] for name in ("interactions", "winsorised")},
            # Each on its own: two distinct counts in one aggregation would multiply the rows by three.
            "customers": interactions.select("customer_id").distinct().count(),
            "items": interactions.select("stock_code").distinct().count(),
            "first_date": kept["first_date"],
            "last_date": kept["last_date"],
        },
    }


def check_law(read: int, kept: int, rejected: int) -> None:
    """Raise DataError unless every line that was read is either kept or rejected."""
    if read != kept + rejected:
        raise DataError(
            f"lines do not add up: {read:,} read, {kept:,} kept, {rejected:,} rejected. Two source lines may share "
            "source_file, source_sheet and source_row; run stage 'ingest' again"
        )


def _totals(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"lines": 0, "units": 0.0, "money": 0.0}
    return {"lines": row["lines"], "units": float(row["units"] or 0), "money": float(row["money"] or 0)}
