"""Tables of the business, excluded codes and the least price -> rules of items."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.cleaning.dates import parse_date
from recsys_spark.cleaning.numbers import parse_decimal
from recsys_spark.contracts.config import DatesConfig, IngestConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.recommend_config import RecommendConfig
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.recommendations.rule_tables import as_customers, as_stock_codes, known_only, read_table
from recsys_spark.recommendations.rules import BEGINNING_OF_TIME, END_OF_TIME, NUMBER_OF, ItemRules
from recsys_spark.spelling import tidy_code

ELIGIBILITY, EXCLUSIONS = "recommend.eligibility.table", "recommend.customer_exclusions"
COLUMNS = {  # of the table beside stock_code, each with other spellings of its header
    "in_stock": ("available",),
    "stock": ("stock quantity", "stock on hand", "on hand"),
    "withdrawn": ("discontinued", "delisted"),
    "from": ("valid from", "from date", "start date"),
    "to": ("valid to", "to date", "end date"),
}
log = logging.getLogger("recsys")
_YES, _NO = ("true", "yes", "y", "1", "نعم"), ("false", "no", "n", "0", "لا")


def read_eligibility(items: DataFrame, options: RecommendConfig, ingest: IngestConfig, dates: DatesConfig) -> DataFrame:
    """item_idx, in_stock and withdrawn (booleans, null where the table does not say), start and end (microseconds): an
    item may be recommended in [start, end).

    items: ITEM_ID_MAP. `stock` above 0 is in stock. `from` and `to` count from their days' beginning and to their end,
    in UTC, unless they have a time of day. Raises DataError for a code that is unknown or has two rows, a cell that is
    no such value, and a window that ends before it begins.
    """
    path = options.eligibility.table
    assert path is not None
    where = f"'{path}' ({ELIGIBILITY})"
    raw = read_table(items.sparkSession, path, ELIGIBILITY, ("stock_code",), COLUMNS, ingest)
    table = as_stock_codes(raw).select("*", *_typed(dates))
    _require_values(table, where)
    repeated = table.groupBy("stock_code").count().filter("count > 1").orderBy("stock_code").first()
    if repeated is not None:
        raise DataError(
            f"{where}: stock_code '{repeated['stock_code']}' has {repeated['count']} rows; each may have one"
        )
    known = known_only(table, items, "stock_code", where, options.unknown_ids)
    return known.select("item_idx", "is_in_stock", "is_withdrawn", "start", "end")


def read_exclusions(
    items: DataFrame, customers: DataFrame, options: RecommendConfig, ingest: IngestConfig, entry: CustomerEntry
) -> DataFrame:
    """customer_id and excluded, array of item_idx: what is not to be recommended to a customer.

    items, customers: the id maps; entry: how the table's customers come in. Raises DataError for a customer or code
    that is unknown, by the names that they go by.
    """
    path = options.customer_exclusions
    assert path is not None
    where = f"'{path}' ({EXCLUSIONS})"
    raw = read_table(items.sparkSession, path, EXCLUSIONS, ("customer_id", "stock_code"), {}, ingest)
    table = as_customers(as_stock_codes(raw), entry)
    known = known_only(table, customers.select("customer_id"), "customer_id", where, options.unknown_ids)
    pairs = known_only(known, items, "stock_code", where, options.unknown_ids)
    return pairs.groupBy("customer_id").agg(F.sort_array(F.collect_set("item_idx")).alias("excluded"))


def item_rules(
    items: DataFrame, options: RecommendConfig, eligibility: DataFrame | None, interactions: DataFrame
) -> DataFrame:
    """item_idx, barred (number of a rule, 0 for none), start, end, and the numbers of category and brand, 0 for none.

    items: item_idx, stock_code, category and brand of all; eligibility: of `read_eligibility`; interactions: those
    that prices are taken from.
    """
    rows = items.select("item_idx", "stock_code", "category", "brand")
    excluded = [tidy_code(code) for code in options.excluded_codes]
    if excluded:
        _tell_unknown(items, excluded)
    conditions = {"excluded_codes": F.col("stock_code").isin(excluded)}
    if eligibility is not None:
        rows = rows.join(eligibility.withColumn("is_listed", F.lit(True)), on="item_idx", how="left")
        conditions["withdrawn"] = F.col("is_withdrawn")
        conditions["out_of_stock"] = ~F.col("is_in_stock")
        if options.eligibility.unlisted == "barred":
            conditions["unlisted"] = F.col("is_listed").isNull()
    else:
        rows = rows.withColumns({name: F.lit(None).cast("bigint") for name in ("start", "end")})
    if options.min_price:
        prices = interactions.groupBy("stock_code").agg(F.median("price").alias("price"))
        rows = rows.join(prices, on="stock_code", how="left")
        conditions["min_price"] = F.coalesce(F.col("price") < options.min_price, F.lit(True))
    barred = [F.when(condition, F.lit(NUMBER_OF[rule])) for rule, condition in conditions.items()]
    for group in ("category", "brand"):
        rows = _numbered(rows, group)
    return rows.select(
        "item_idx",
        F.coalesce(*barred, F.lit(0)).alias("barred"),
        F.coalesce("start", F.lit(BEGINNING_OF_TIME)).alias("start"),
        F.coalesce("end", F.lit(END_OF_TIME)).alias("end"),
        "category",
        "brand",
    )


@functools.lru_cache(maxsize=2)
def load_item_rules(folder: str) -> ItemRules:
    """Rows of `item_rules` below a folder as arrays, inside a task. A folder is never written again."""
    table = read_columns(folder)
    index = numbers(table, "item_idx")
    rules = ItemRules.none(int(index.max(initial=0)))
    for name, values in vars(rules).items():
        values[index] = numbers(table, name)
    return rules


def _numbered(rows: DataFrame, group: str) -> DataFrame:
    """The group by a hash above 0 in place of its name: two groups of one run would have to share 63 bits."""
    number = F.xxhash64(group).bitwiseAND(F.lit(2**63 - 1))
    return rows.withColumn(group, F.when(F.col(group).isNull(), F.lit(0)).otherwise(F.greatest(number, F.lit(1))))


def _tell_unknown(items: DataFrame, codes: Sequence[str]) -> None:
    """Warn of codes that no product has: a slip of the pen would let a product through that is not to be sold."""
    known = {row["stock_code"] for row in items.filter(F.col("stock_code").isin(codes)).take(len(codes))}
    strange = [code for code in codes if code not in known]
    if strange:
        log.warning("recommend.excluded_codes: no product has the code %s", ", ".join(strange))


def _typed(dates: DatesConfig) -> list[Column]:
    flag = {name: _flag(F.col(name)) for name in ("in_stock", "withdrawn")}
    start, end = (parse_date(F.col(name), F.lit(None), dates) for name in ("from", "to"))
    whole_day = F.date_trunc("day", end) == end  # a workbook's date cell is its midnight
    last = F.when(whole_day, end + F.expr("interval 1 day")).otherwise(end + F.expr("interval 1 microsecond"))
    in_stock = [flag["in_stock"], parse_decimal(F.col("stock")) > 0]
    return [
        # Either column may say that there is none.
        F.when(~in_stock[0] | ~in_stock[1], F.lit(False)).otherwise(F.coalesce(*in_stock)).alias("is_in_stock"),
        flag["withdrawn"].alias("is_withdrawn"),
        F.unix_micros(start).alias("start"),
        F.unix_micros(last).alias("end"),
    ]


def _flag(text: Column) -> Column:
    word = F.lower(text)
    return F.when(word.isin(*_YES), F.lit(True)).when(word.isin(*_NO), F.lit(False))


def _require_values(table: DataFrame, where: str) -> None:
    """Raise DataError for a cell that its column cannot hold and for dates in the wrong order, with the first such."""
    yes_or_no = f"{'/'.join(_YES)} or {'/'.join(_NO)}"
    expected = {"in_stock": yes_or_no, "stock": "a number", "withdrawn": yes_or_no, "from": "a date", "to": "a date"}
    values = (
        _flag(F.col("in_stock")),
        parse_decimal(F.col("stock")),
        F.col("is_withdrawn"),
        F.col("start"),
        F.col("end"),
    )
    is_bad = {
        column: F.col(column).isNotNull() & value.isNull() for column, value in zip(expected, values, strict=True)
    }
    bad_column = F.coalesce(*(F.when(bad, F.lit(column)) for column, bad in is_bad.items()))
    is_backwards = F.col("start") >= F.col("end")
    found = table.withColumn("bad_column", bad_column).filter(F.col("bad_column").isNotNull() | is_backwards)
    row = found.orderBy("stock_code", "bad_column").first()
    if row is None:
        return
    column, code = row["bad_column"], f"stock_code '{row['stock_code']}'"
    if column is None:
        raise DataError(
            f"{where}: {code} is from {row['from']} to {row['to']}, which is no time at all; swap the dates"
        )
    raise DataError(f"{where}: {column} of {code} is '{row[column]}', expected {expected[column]}; correct the cell")
