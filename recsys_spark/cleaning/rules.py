"""Reject conditions, one named Column each, in the order in which a line meets them."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.cleaning.dates import parse_date
from recsys_spark.cleaning.numbers import parse_decimal
from recsys_spark.cleaning.text import replace_by, tidy
from recsys_spark.contracts.columns import LINE_COLUMNS
from recsys_spark.contracts.config import INGEST_RULES, CleanConfig


def type_lines(raw: DataFrame, config: CleanConfig, normal_forms: DataFrame | None) -> DataFrame:
    """Add typed twins of the text columns to raw lines: customer, code, text, time (UTC, at the grain), units, amount.

    The text columns stay as they are, for rejected_lines. normal_forms: see `text.normal_forms`; None for no text
    that NFKC changes.
    """
    lines = raw.withColumns({"code": F.col("stock_code"), "text": F.col("description")})
    if normal_forms is not None:
        for column in ("code", "text"):
            lines = replace_by(lines, normal_forms, column)
    time = parse_date(F.col("invoice_date"), F.col("year"), config.dates)
    customer = F.trim("customer_id")
    return lines.select(
        *raw.columns,
        F.when(customer != "", customer).alias("customer"),
        tidy(F.col("code")).alias("code"),
        tidy(F.col("text")).alias("text"),
        (F.date_trunc("day", time) if config.date_grain == "day" else time).alias("time"),
        parse_decimal(F.col("quantity")).alias("units"),
        parse_decimal(F.col("line_amount")).alias("amount"),
    )


def line_rule(config: CleanConfig) -> Column:
    """The first rule before `exact_duplicate` that a typed line breaks, null for none."""
    invoice = F.trim("invoice_id")
    conditions = {
        **{rule: F.col("ingest_rule") == rule for rule in INGEST_RULES},
        "unparsed_date": F.col("time").isNull(),
        "missing_customer": F.col("customer").isNull(),
        "missing_stock_code": F.col("code").isNull(),
        "missing_quantity": F.col("units").isNull(),
        "missing_amount": F.col("amount").isNull(),
        "return": F.upper(F.substring(invoice, 1, 1)) == "C",
        "non_positive_quantity": F.col("units") <= 0,
        "non_positive_price": (F.col("units") > 0) & (F.col("amount") <= 0)
        | (F.col("units") < 0) & (F.col("amount") >= 0),
    }
    return first_rule({rule: broken for rule, broken in conditions.items() if config.applies(rule)})


def is_non_product(config: CleanConfig) -> Column:
    """Whether code or description is, as a whole, one of the patterns for what is no product."""
    if not config.applies("non_product"):
        return F.lit(False)
    matches = [
        F.coalesce(F.col(column).rlike(_whole(patterns)), F.lit(False))
        for column, patterns in (("code", config.non_product_codes), ("text", config.non_product_descriptions))
        if patterns
    ]
    return reduce(Column.__or__, matches, F.lit(False))


def first_rule(conditions: dict[str, Column]) -> Column:
    """Name of the first condition that holds, null for none."""
    broken = [F.when(condition, F.lit(rule)) for rule, condition in conditions.items()]
    return F.coalesce(*broken, F.lit(None).cast("string"))


def content_hashes() -> list[Column]:
    """128 bits that two lines share only when all their source columns are equal, before any cleaning of text."""
    # A null and its neighbour's value must not pass for each other: xxhash64 skips nulls.
    columns = [F.coalesce(F.col(name), F.lit("\0")) for name in (*LINE_COLUMNS, "extra")]
    return [F.xxhash64(F.lit(salt), *columns).alias(f"content_{salt}") for salt in (1, 2)]


def _whole(patterns: tuple[str, ...]) -> str:
    return "^(?i:" + "|".join(f"(?:{pattern})" for pattern in patterns) + ")$"
