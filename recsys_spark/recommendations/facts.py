"""What is known of listed items before the moment: sales, category, and the customer's products beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.contracts.recommend_config import ReasonsConfig
from recsys_spark.contracts.schemas import RECOMMENDATIONS
from recsys_spark.recommendations.reasons import facts_of_reason, kind_of_reason, sentence
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


@dataclass(frozen=True)
class Sales:
    """What reasons rest on. interactions: those before the moment; items: ITEMS_CLEAN; moment: of `moment_after`.

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
            F.count(F.lit(1)).alias("num_customers"),
            F.sum("recent").alias("num_recent_events"),
            F.count_if(F.col("recent") > 0).alias("num_recent_customers"),
        )
        known = self.items.select("item_idx", "stock_code", "description", "category")
        best = Window.partitionBy("category").orderBy(F.desc("num_recent_events"), F.desc("num_events"), "item_idx")
        is_ranked = F.col("category").isNotNull() & (F.col("num_recent_events") > 0)
        ranked = known.join(counts, on="stock_code", how="inner")
        return ranked.withColumn("category_rank", F.when(is_ranked, F.row_number().over(best)))

    def of_categories(self) -> DataFrame:
        """customer_id, category, category_times: purchases of the customer in it; at most one row per purchase."""
        categories = self.items.filter("category is not null").select("stock_code", "category")
        bought = self.interactions.select("customer_id", "stock_code").join(categories, on="stock_code", how="inner")
        return bought.groupBy("customer_id", "category").agg(F.count(F.lit(1)).alias("category_times"))


def pairs_of(listed: DataFrame) -> DataFrame:
    """together.PAIRS: the distinct pairs of a listed item and the product of a customer's that may speak for it."""
    pairs = listed.filter("together_idx is not null")
    return pairs.select("item_idx", F.col("together_idx").alias("other_idx")).distinct()


def recommendations(
    listed: DataFrame,
    sales: Sales,
    co_purchases: DataFrame,
    model: str,
    options: ReasonsConfig,
    materialise: Callable[[str, DataFrame], DataFrame],
) -> DataFrame:
    """RECOMMENDATIONS of the listed items.

    listed: lists.LISTED; co_purchases: of the pairs of `pairs_of`; model: the name of the one that ranked.
    """
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
    rows = rows.join(counted, on=["item_idx", "together_idx"], how="left")
    rows = rows.join(sales.of_categories(), on=["customer_id", "category"], how="left")
    rows = rows.withColumnsRenamed({f"{name}_days": f"{name}_days_ago" for name in ("together", "similar")})
    rows = rows.withColumn("best_source", _best_source(model)).withColumn("reason_kind", kind_of_reason(options))
    rows = rows.withColumn("reason_facts", facts_of_reason(sales.recent_days))
    told = F.transform("source_ranks", lambda each: F.concat_ws(" ", each["source"], each["rank"]))
    return rows.withColumns(
        {
            "reason": sentence(),
            "model": F.when(F.col("is_scored"), model).otherwise("popularity"),
            "sources": F.when(F.col("source_ranks").isNotNull(), F.concat_ws(", ", told)),
        }
    ).select(*RECOMMENDATIONS.names)


def _own_product(items: DataFrame, name: str) -> DataFrame:
    return items.select(
        F.col("item_idx").alias(f"{name}_idx"),
        F.col("stock_code").alias(f"{name}_stock_code"),
        F.col("description").alias(f"{name}_description"),
    )


def _best_source(model: str) -> Column:
    """What a reason is to explain: the best source; of one stage the model; else that the item is popular."""
    return F.coalesce(F.col("source_ranks")[0]["source"], F.when(F.col("is_scored"), model).otherwise("popularity"))
