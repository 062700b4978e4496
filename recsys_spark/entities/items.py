"""The catalogue: one row per item."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.schemas import ITEMS_CLEAN
from recsys_spark.entities.statistics import commonest_texts, of_interactions

_TEXTS = ("description", "brand", "category")


def build_items(interactions: DataFrame, item_ids: DataFrame) -> DataFrame:
    """ITEMS_CLEAN: each item's commonest description, brand and category, and its statistics."""
    items = interactions.groupBy("stock_code").agg(*of_interactions())
    # Apart from the sums: as one aggregation, every pair would carry them through the shuffle.
    pairs = interactions.select("stock_code", "customer_id").distinct()
    num_customers = pairs.groupBy("stock_code").agg(F.count("customer_id").alias("num_customers"))
    texts = commonest_texts(interactions, "stock_code", _TEXTS)
    joined = item_ids
    for part in (items, num_customers, texts):
        joined = joined.join(part, on="stock_code", how="inner")
    return joined.select(*ITEMS_CLEAN.names)


def known_texts(interactions: DataFrame, item_ids: DataFrame) -> DataFrame:
    """item_idx, stock_code and the texts of ITEMS_CLEAN as some interactions have them; null of other items."""
    texts = commonest_texts(interactions, "stock_code", _TEXTS)
    return item_ids.join(texts, on="stock_code", how="left").select("item_idx", "stock_code", *_TEXTS)
