"""What the report tells of the data: sales over time, and how catalogue and customers are spread. Small aggregates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

_WEEKS_AT_MOST = 80  # beyond that a chart by week is crowded
EXAMPLES_PER_RULE = 3
TOP_CATEGORIES = 10
_EXAMPLE = ("invoice_id", "stock_code", "description", "customer_id", "invoice_date", "quantity", "line_amount")


@dataclass(frozen=True)
class Period:
    """One week, from Monday, or one month. start: its first day, ISO; money in the source currency."""

    start: str
    lines: int
    money: float
    customers: int


@dataclass(frozen=True)
class Step:
    """Those whose size lies between two round numbers. low: the smaller, which belongs to it; high: the next one.

    members: products or customers; lines, money: what they come to together.
    """

    low: float
    high: float
    members: int
    lines: int
    money: float


def period_of(first: str, last: str) -> str:
    """`week` where the days between two ISO times make a chart that can be read, else `month`.

    >>> period_of("2017-01-01 11:53:26", "2018-01-01 04:01:20"), period_of("2015-01-01", "2017-12-31")
    ('week', 'month')
    """
    days = (datetime.fromisoformat(last) - datetime.fromisoformat(first)).days
    return "week" if days <= 7 * _WEEKS_AT_MOST else "month"


def sales_over_time(interactions: DataFrame, period: str) -> list[Period]:
    """One entry per week or month from the first with a sale to the last, in order of time."""
    start = F.date_format(F.date_trunc(period, "invoice_date"), "yyyy-MM-dd")
    found = (
        interactions.groupBy(start.alias("start"))
        .agg(
            F.sum("num_lines").alias("lines"),
            F.sum("line_amount").cast("double").alias("money"),
            F.count_distinct("customer_id").alias("customers"),
        )
        .orderBy("start")
    )
    sold = {row["start"]: Period(**row.asDict()) for row in found.collect()}
    return [sold.get(start, Period(start, 0, 0.0, 0)) for start in _starts(sorted(sold), period)]


def _starts(sold: list[str], period: str) -> Iterator[str]:
    """The first days of all periods from the first of some to the last."""
    start = sold[0] if sold else None
    while start is not None and start <= sold[-1]:
        yield start
        start = next_start(start, period)


def next_start(start: str, period: str) -> str:
    """First day of the period that follows.

    >>> next_start("2011-12-26", "week"), next_start("2011-12-01", "month")
    ('2012-01-02', '2012-01-01')
    """
    days = 7 if period == "week" else 31
    following = date.fromisoformat(start) + timedelta(days=days)
    return (following if period == "week" else following.replace(day=1)).isoformat()


def spread_by(frame: DataFrame, size: str) -> list[Step]:
    """Rows of ITEMS_CLEAN or CUSTOMERS_CLEAN by the size of one column, in steps of 1, 2 and 5 times powers of ten."""
    value = F.col(size).cast("double")
    power = F.pow(F.lit(10.0), F.floor(F.log10(value)))
    lead = value / power
    low = power * F.when(lead < 2, 1).when(lead < 5, 2).otherwise(5)
    high = power * F.when(lead < 2, 2).when(lead < 5, 5).otherwise(10)
    found = (
        frame.filter(value > 0)
        .groupBy(low.alias("low"), high.alias("high"))
        .agg(
            F.count(F.lit(1)).alias("members"),
            F.sum("num_interactions").alias("lines"),
            F.sum("total_amount").cast("double").alias("money"),
        )
        .orderBy("low")
    )
    return [Step(**row.asDict()) for row in found.collect()]


def top_categories(items: DataFrame) -> list[dict[str, Any]]:
    """The categories that most money goes to: category, items, lines, money. Empty where the source has none."""
    found = (
        items.filter(F.col("category").isNotNull())
        .groupBy("category")
        .agg(
            F.count(F.lit(1)).alias("items"),
            F.sum("num_interactions").alias("lines"),
            F.sum("total_amount").cast("double").alias("money"),
        )
        .orderBy(F.desc("money"), "category")
        .limit(TOP_CATEGORIES)
    )
    return [row.asDict() for row in found.collect()]


def rejected_examples(rejected: DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Of each rule the first lines that broke it, by file, sheet and row, as the source shows them."""
    in_source = Window.partitionBy("rule").orderBy("source_file", "source_sheet", "source_row")
    place = F.row_number().over(in_source)
    file = F.element_at(F.split("source_file", "/"), -1)
    kept = rejected.withColumn("place", place).filter(F.col("place") <= EXAMPLES_PER_RULE)
    chosen = kept.select("rule", "place", *_EXAMPLE, file.alias("file"), "source_sheet", "source_row")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in chosen.orderBy("rule", "place").collect():
        found.setdefault(row["rule"], []).append(row.asDict())
    return found


def data_facts(interactions: DataFrame, items: DataFrame, customers: DataFrame, rejected: DataFrame) -> dict[str, Any]:
    """All of this module as plain values."""
    span = interactions.agg(*(_iso(edge("invoice_date")) for edge in (F.min, F.max))).first()
    assert span is not None  # an aggregate without keys has one row
    period = period_of(*span)
    return {
        "first": span[0],
        "last": span[1],
        "period": period,
        "sales": [asdict(entry) for entry in sales_over_time(interactions, period)],
        "items_by_lines": [asdict(step) for step in spread_by(items, "num_interactions")],
        "customers_by_orders": [asdict(step) for step in spread_by(customers, "num_orders")],
        "customers_by_money": [asdict(step) for step in spread_by(customers, "total_amount")],
        "customers_by_items": [asdict(step) for step in spread_by(customers, "num_items")],
        "categories": top_categories(items),
        "examples": rejected_examples(rejected),
    }


def _iso(time: Column) -> Column:
    return F.date_format(time, "yyyy-MM-dd'T'HH:mm:ss")
