"""What is known of listed items before the moment: sales, category, and the customer's products beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.contracts.schemas import REASON_FACTS, RECOMMENDATIONS
from recsys_spark.recommendations.reasons import Teller, sources_in_words
from recsys_spark.workbook_writer import SheetColumn

# What an account manager sees of RECOMMENDATIONS.
SHEET = (
    SheetColumn("customer_id", "Customer"),
    SheetColumn("rank", "Rank", 6),
    SheetColumn("stock_code", "Code"),
    SheetColumn("description", "Description", 36),
    SheetColumn("score", "Score", 8),
    SheetColumn("reason", "Reason", 110),
)

_KINDS = {"string": pa.string(), "bigint": pa.int64(), "double": pa.float64()}
_FACTS = pa.struct([(name, _KINDS[kind]) for name, kind in REASON_FACTS.items()])


@dataclass(frozen=True)
class Sales:
    """What reasons rest on. interactions: those before the moment; items: item_idx, stock_code, description and
    category of all; moment: of `moment_after`.

    recent_days: what counts as recent, in days before the moment.
    """

    interactions: DataFrame
    items: DataFrame
    moment: DataFrame
    recent_days: int

    def of_items(self) -> DataFrame:
        """item_idx, stock_code, description, category; num_events and num_customers, and of the recent days
        num_recent_events and num_recent_customers; category_rank by recent events, null without any or a category.
        """
        recent_start = F.col("event_time") - F.expr(f"interval {self.recent_days} days")
        dated = self.interactions.crossJoin(F.broadcast(self.moment))
        by_customer = dated.groupBy("stock_code", "customer_id").agg(
            F.count(F.lit(1)).alias("events"), F.count_if(F.col("invoice_date") >= recent_start).alias("recent")
        )
        counts = by_customer.groupBy("stock_code").agg(
            F.sum("events").alias("num_events"),
            F.count("customer_id").alias("num_customers"),  # lines without one are nobody's
            F.sum("recent").alias("num_recent_events"),
            F.count_if((F.col("recent") > 0) & F.col("customer_id").isNotNull()).alias("num_recent_customers"),
        )
        known = self.items.select("item_idx", "stock_code", "description", "category")
        best = Window.partitionBy("category").orderBy(F.desc("num_recent_events"), F.desc("num_events"), "item_idx")
        is_ranked = F.col("category").isNotNull() & (F.col("num_recent_events") > 0)
        ranked = known.join(counts, on="stock_code", how="inner")
        return ranked.withColumn("category_rank", F.when(is_ranked, F.row_number().over(best)))


def pairs_of(listed: DataFrame) -> DataFrame:
    """together.PAIRS: the distinct pairs of a listed item and the product of a customer's that may speak for it."""
    pairs = listed.filter("together_idx is not null")
    return pairs.select("item_idx", F.col("together_idx").alias("other_idx")).distinct()


def recommendations(
    listed: DataFrame,
    sales: Sales,
    co_purchases: DataFrame,
    teller: Teller,
    materialise: Callable[[str, DataFrame], DataFrame],
) -> DataFrame:
    """RECOMMENDATIONS of the listed items. listed: lists.LISTED; co_purchases: of the pairs of `pairs_of`."""
    items = materialise("item_sales", sales.of_items())
    rows = listed.filter("rank > 0").join(items, on="item_idx", how="inner")
    for name in ("together", "similar"):
        rows = rows.join(_own_product(items, name), on=f"{name}_idx", how="left")
    counted = co_purchases.select(
        "item_idx",
        F.col("other_idx").alias("together_idx"),
        F.col("customers").alias("other_customers"),
        F.col("baskets").alias("other_baskets"),
    )
    rows = rows.join(counted, on=["item_idx", "together_idx"], how="left").drop("passed_over", "missing")
    return rows.mapInArrow(partial(told_batches, teller=teller), RECOMMENDATIONS.ddl)


def told_batches(batches: Iterable[pa.RecordBatch], teller: Teller) -> Iterator[pa.RecordBatch]:
    """From listed items with all that is known of them to RECOMMENDATIONS."""
    for arrow in batches:
        rows = arrow.to_pylist()
        reasons = [teller.reason(row) for row in rows]
        made = {
            "reason": pa.array([reason.text for reason in reasons], pa.string()),
            "reason_kind": pa.array([reason.kind for reason in reasons], pa.string()),
            "reason_facts": pa.array([reason.facts for reason in reasons], _FACTS),
            "model": pa.array([teller.ranked_by(row) for row in rows], pa.string()),
            "sources": pa.array([sources_in_words(row) for row in rows], pa.string()),
        }
        columns = [made[name] if name in made else arrow.column(name) for name in RECOMMENDATIONS.names]
        yield pa.RecordBatch.from_arrays(columns, names=RECOMMENDATIONS.names)


def _own_product(items: DataFrame, name: str) -> DataFrame:
    return items.select(
        F.col("item_idx").alias(f"{name}_idx"),
        F.col("stock_code").alias(f"{name}_stock_code"),
        F.col("description").alias(f"{name}_description"),
    )
