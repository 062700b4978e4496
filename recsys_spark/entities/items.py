"""The catalogue: one row per item."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.schemas import ITEMS_CLEAN
from recsys_spark.entities.statistics import commonest_texts, of_groups, of_interactions


def build_items(interactions: DataFrame, item_ids: DataFrame) -> DataFrame:
    """ITEMS_CLEAN: each item's commonest description, brand and category, taken together, and its statistics."""
    by_customer = interactions.groupBy("stock_code", "customer_id").agg(*of_interactions())
    items = by_customer.groupBy("stock_code").agg(F.count("customer_id").alias("num_customers"), *of_groups())
    texts = commonest_texts(interactions, "stock_code", ("description", "brand", "category"))
    joined = item_ids.join(items, on="stock_code", how="inner").join(texts, on="stock_code", how="inner")
    return joined.select(*ITEMS_CLEAN.names)
