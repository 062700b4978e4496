"""Reject conditions, one named Column each, in the order in which a line meets them."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.cleaning.dates import parse_date, plausible
from recsys_spark.cleaning.numbers import parse_decimal
from recsys_spark.cleaning.text import replace_by, tidy, tidy_codes
from recsys_spark.contracts.columns import LINE_COLUMNS
from recsys_spark.contracts.config import INGEST_RULES, CleanConfig
from recsys_spark.privacy.customer_ids import normal_ids
from recsys_spark.spelling import MARKS, SPACES

# What makes a line a copy of another. The customer by its one spelling, so that pseudonyms make the same copies.
CONTENT = tuple("customer" if name == "customer_id" else name for name in (*LINE_COLUMNS, "extra"))


def label_lines(raw: DataFrame, config: CleanConfig, normal_forms: DataFrame | None) -> DataFrame:
    """`typed_lines` and, in `rule`, the first rule they break on their own.

    Rules that need more than the line itself come later: exact_duplicate, cancelled, outlier and the rare ones; and
    so does non_product, which stands behind exact_duplicate.
    """
    return typed_lines(raw, config, normal_forms).withColumn("rule", _own_rule(config))


def typed_lines(raw: DataFrame, config: CleanConfig, normal_forms: DataFrame | None) -> DataFrame:
    """Lines with typed twins of their text columns, which stay as they are, for rejected_lines.

    Twins: customer, code, text, time (UTC, at the grain), units, amount.
    normal_forms: see `text.normal_forms`; None where NFKC changes no text.
    """
    lines = raw.withColumns({"code": F.col("stock_code"), "text": F.col("description")})
    if normal_forms is not None:
        for column in ("code", "text"):
            lines = replace_by(lines, normal_forms, column)
    time = plausible(parse_date(F.col("invoice_date"), F.col("year"), config.dates))
    return lines.select(
        *raw.columns,
        normal_ids(F.col("customer_id")).alias("customer"),
        tidy_codes(F.col("code")).alias("code"),
        tidy(F.col("text")).alias("text"),
        (F.date_trunc("day", time) if config.date_grain == "day" else time).alias("time"),
        parse_decimal(F.col("quantity")).alias("units"),
        parse_decimal(F.col("line_amount")).alias("amount"),
    )


def _own_rule(config: CleanConfig) -> Column:
    units, amount, latest = F.col("units"), F.col("amount"), config.dates.latest
    conditions = {
        **{rule: F.col("ingest_rule") == rule for rule in INGEST_RULES},
        "unparsed_date": F.col("time").isNull(),
        **({"future_date": F.to_date("time") > F.lit(latest).cast("date")} if latest else {}),
        "missing_customer": F.col("customer").isNull(),
        "missing_stock_code": F.col("code").isNull(),
        "missing_quantity": units.isNull(),
        "missing_amount": amount.isNull(),
        "return": is_return(),
        "non_positive_quantity": units <= 0,
        "non_positive_price": ((units > 0) & (amount <= 0)) | ((units < 0) & (amount >= 0)),
    }
    return first_rule({rule: broken for rule, broken in conditions.items() if config.applies(rule)})


def is_return() -> Column:
    """Whether the invoice id says that goods came back: it begins with C, in either case."""
    return F.col("invoice_id").rlike(f"^[{SPACES}{MARKS}]*[Cc]")


def is_non_product(config: CleanConfig) -> Column:
    """Whether code or text is, as a whole, one of the patterns for what is no product."""
    if not config.applies("non_product"):
        return F.lit(False)
    return _is_one_of("code", config.non_product_codes) | _is_one_of("text", config.non_product_descriptions)


def _is_one_of(column: str, patterns: tuple[str, ...]) -> Column:
    """Whether an upper-case text is, as a whole, one of the patterns in any case; false for null."""
    # Most patterns are plain words: looking those up costs a tenth of trying them one by one.
    words = [pattern.upper() for pattern in patterns if _is_plain(pattern)]
    others = tuple(pattern for pattern in patterns if not _is_plain(pattern))
    found = F.col(column).isin(words)
    return F.coalesce(found | F.col(column).rlike(_whole(others)) if others else found, F.lit(False))


def first_rule(conditions: dict[str, Column]) -> Column:
    """Name of the first condition that holds, null for none."""
    broken = [F.when(condition, F.lit(rule)) for rule, condition in conditions.items()]
    return F.coalesce(*broken, F.lit(None).cast("string"))


def content_hash() -> Column:
    """A hash of all source columns before any cleaning of text, but for the spelling of the customer.

    It is compared only among lines of one customer, item and time, where 64 bits tell any two contents apart.
    """
    # xxhash64 skips nulls, so a null and the next column's value could pass for each other.
    return F.xxhash64(*(F.coalesce(F.col(name), F.lit("\0")) for name in CONTENT))


def _is_plain(pattern: str) -> bool:
    return pattern.isascii() and pattern.replace(" ", "").isalnum()


def _whole(patterns: tuple[str, ...]) -> str:
    return "^(?i:" + "|".join(f"(?:{pattern})" for pattern in patterns) + ")$"
