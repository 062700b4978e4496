"""Drift of the purchases: quantities, prices, money, basket sizes, categories, weekdays, unknown ids."""

from __future__ import annotations

from math import sqrt
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import CUSTOMER_ID_MAP, INTERACTIONS_CLEAN, ITEM_ID_MAP
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.evaluation.segments import NO_CATEGORY, OTHER
from recsys_spark.monitoring.distributions import Draws, moved_counts, moved_values
from recsys_spark.monitoring.histograms import fine_histograms
from recsys_spark.monitoring.measures import Measure, above, not_measured
from recsys_spark.monitoring.runs import SeenRun, lacks

GROUP = "lines"
_NUMBERS = ("quantity", "price", "line_amount")
_MIN_DAYS = 28  # of the shorter side, below which its weekdays are not its customers' but the calendar's
_MIN_PRODUCTS = 3  # of a category, below which its prices are single decisions
_ERRORS = 3  # standard errors of a mean price change that are taken for sampling
_DAYS = ("7 Sun", "1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat")  # numbered, as names are sorted


def measures_of_runs(reference: SeenRun, current: SeenRun, config: MonitorConfig) -> list[Measure]:
    """Everything of two runs; what was taken out of one of them since is not measured."""
    lacking = lacks(reference, current, INTERACTIONS_CLEAN) or lacks(reference, reference, CUSTOMER_ID_MAP, ITEM_ID_MAP)
    if lacking:
        return [not_measured(GROUP, "psi", lacking), not_measured("unknown", "customers", lacking)]
    bought = reference.table(INTERACTIONS_CLEAN), current.table(INTERACTIONS_CLEAN)
    before, behind = windows(bought[0], bought[1], config.reference_days)
    known = reference.table(CUSTOMER_ID_MAP), reference.table(ITEM_ID_MAP)
    return [*line_measures(before, behind, config), *unknown_measures(behind, known[0], known[1], config)]


def windows(reference: DataFrame, current: DataFrame, days: int) -> tuple[DataFrame, DataFrame]:
    """The lines that are held against each other, both INTERACTIONS_CLEAN.

    Of the reference its last `days`. Of the current run what lies behind the reference's last event, as both have the
    lines before it; where nothing does, its last `days` too.
    """
    last = reference.agg(F.max("invoice_date").alias("last"))
    behind = current.crossJoin(F.broadcast(last)).filter(F.col("invoice_date") > F.col("last")).drop("last")
    return latest(reference, days), latest(current, days) if behind.isEmpty() else behind


def latest(lines: DataFrame, days: int) -> DataFrame:
    """Lines of the last days before the last event."""
    last = lines.agg((F.max("invoice_date") - F.expr(f"interval {days} days")).alias("start"))
    return lines.crossJoin(F.broadcast(last)).filter(F.col("invoice_date") > F.col("start")).drop("start")


def line_measures(reference: DataFrame, current: DataFrame, config: MonitorConfig) -> list[Measure]:
    """Everything that is measured of two frames of INTERACTIONS_CLEAN, but for unknown ids."""
    facts = _facts(reference), _facts(current)
    if not all(fact["customers"] for fact in facts):
        return [not_measured(GROUP, "psi", "one of the sides has no line")]
    draws = Draws(facts[0]["customers"], facts[1]["customers"], "customers")
    numbers = tuple(fine_histograms(side, dict.fromkeys(_NUMBERS)) for side in (reference, current))
    baskets = tuple(fine_histograms(_baskets(side), {"lines_per_day": None}) for side in (reference, current))
    found = [
        m for name in _NUMBERS for m in moved_values(GROUP, name, (numbers[0][name], numbers[1][name]), draws, config)
    ]
    name = "lines_per_day"
    found.append(moved_values(GROUP, name, (baskets[0][name], baskets[1][name]), draws, config)[0])
    found.append(_category_mix(reference, current, draws, config))
    found.append(_weekdays(reference, current, facts, draws, config))
    found.append(price_levels(reference, current, config))
    return found


def unknown_measures(
    lines: DataFrame, customer_ids: DataFrame, item_ids: DataFrame, config: MonitorConfig
) -> list[Measure]:
    """Share of the lines' money, lines and ids that a run does not know. customer_ids, item_ids: its id maps."""
    limits = config.thresholds
    return [
        _unknown(lines, "customer_id", customer_ids, "customers", limits.unknown_customers),
        _unknown(lines, "stock_code", item_ids, "products", limits.unknown_products),
    ]


def _unknown(lines: DataFrame, key: str, known: DataFrame, name: str, limit: float) -> Measure:
    marked = lines.join(known.select(key, F.lit(True).alias("is_known")), on=key, how="left")
    is_unknown = F.col("is_known").isNull()
    row = marked.agg(
        F.sum("line_amount").alias("money"),
        F.sum(F.when(is_unknown, F.col("line_amount"))).alias("unknown_money"),
        F.count(F.lit(1)).alias("lines"),
        F.count_if(is_unknown).alias("unknown_lines"),
        F.count_distinct(key).alias("ids"),
        F.count_distinct(F.when(is_unknown, F.col(key))).alias("unknown_ids"),
    ).first()
    assert row is not None  # an aggregate without keys has one row
    if not row["money"]:
        return not_measured("unknown", name, "there is no money in the lines")
    parts = {part: float(row[f"unknown_{part}"] or 0) / float(row[part]) for part in ("money", "lines", "ids")}
    sentence = (
        f"{row['unknown_ids']:,} of {row['ids']:,} {name} are unknown, with {parts['lines']:.1%} of the lines and "
        f"{parts['money']:.1%} of the money"
    )
    return above("unknown", name, parts["money"], limit, sentence, shares=parts)


def price_levels(reference: DataFrame, current: DataFrame, config: MonitorConfig) -> Measure:
    """The category whose products moved most in price, like for like: products that both sides sold.

    Of each product the mean log price, of each category the mean change over its products; what three standard errors
    of that mean explain is taken off.
    """
    sides = [
        _log_prices(side).withColumnRenamed("price", name) for side, name in ((reference, "old"), (current, "new"))
    ]
    both = sides[0].join(sides[1].drop("category"), on="stock_code", how="inner")
    change = F.col("new") - F.col("old")
    by_category = both.groupBy("category").agg(
        F.count(F.lit(1)).alias("products"),
        F.avg(change).alias("mean"),
        F.coalesce(F.stddev(change), F.lit(0.0)).alias("deviation"),
    )
    largest = by_category.filter(F.col("products") >= _MIN_PRODUCTS).orderBy(F.desc("products"), "category")
    rows = largest.limit(config.max_categories).collect()
    if not rows:
        return not_measured(GROUP, "price_level", f"no category has {_MIN_PRODUCTS} products that both sides sold")
    moved = [(_beyond(row), row) for row in rows]
    value, row = max(moved, key=lambda pair: (pair[0], pair[1]["category"]))
    told = f"moved by {row['mean']:+.3f} (log), the most beyond sampling"
    sentence = f"the like-for-like price of category {row['category']} {told}"
    detail: dict[str, Any] = {row["category"]: round(row["mean"], 6) for row in rows}
    return above(GROUP, "price_level", value, config.thresholds.price_shift, sentence, categories=detail)


def _beyond(row: Any) -> float:
    return max(0.0, abs(row["mean"]) - _ERRORS * float(row["deviation"]) / sqrt(row["products"]))


def _log_prices(lines: DataFrame) -> DataFrame:
    priced = lines.filter(F.col("price") > 0)
    category = F.coalesce(F.max("category"), F.lit(NO_CATEGORY))
    return priced.groupBy("stock_code").agg(F.avg(F.log("price")).alias("price"), category.alias("category"))


def _facts(lines: DataFrame) -> dict[str, int]:
    day = F.to_date("invoice_date")
    span = F.coalesce(F.datediff(F.max(day), F.min(day)) + 1, F.lit(0))
    row = lines.agg(F.count_distinct("customer_id").alias("customers"), span.alias("days")).first()
    assert row is not None  # an aggregate without keys has one row
    return {name: int(row[name]) for name in ("customers", "days")}


def _baskets(lines: DataFrame) -> DataFrame:
    return lines.groupBy("customer_id", F.to_date("invoice_date").alias("day")).agg(
        F.count(F.lit(1)).alias("lines_per_day")
    )


def _category_mix(reference: DataFrame, current: DataFrame, draws: Draws, config: MonitorConfig) -> Measure:
    category = F.coalesce("category", F.lit(NO_CATEGORY))
    counted = reference.groupBy(category.alias("category")).count()
    largest = counted.orderBy(F.desc("count"), "category").limit(config.max_categories).collect()
    kept = [row["category"] for row in largest]
    named = F.when(category.isin(kept), category).otherwise(OTHER)
    return moved_counts(GROUP, "category", (_counts(reference, named), _counts(current, named)), draws, config)


def _weekdays(
    reference: DataFrame, current: DataFrame, facts: tuple[dict[str, int], ...], draws: Draws, config: MonitorConfig
) -> Measure:
    if min(fact["days"] for fact in facts) < _MIN_DAYS:
        return not_measured(GROUP, "psi.weekday", f"one of the sides spans fewer than {_MIN_DAYS} days")
    weekday = F.element_at(F.array(*(F.lit(day) for day in _DAYS)), F.dayofweek("invoice_date"))
    return moved_counts(GROUP, "weekday", (_counts(reference, weekday), _counts(current, weekday)), draws, config)


def _counts(lines: DataFrame, name: Any) -> dict[str, int]:
    """Lines by name; names are few."""
    return {row["name"]: row["count"] for row in lines.groupBy(name.alias("name")).count().collect()}
