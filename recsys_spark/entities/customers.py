"""The customer table: one row per customer."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.schemas import CUSTOMERS_CLEAN
from recsys_spark.entities.statistics import commonest_texts, of_groups, of_interactions


def build_customers(interactions: DataFrame, customer_ids: DataFrame) -> DataFrame:
    """CUSTOMERS_CLEAN: each customer's commonest showroom and sales channel, and its statistics."""
    orders = interactions.groupBy("customer_id", "invoice_date").agg(*of_interactions())
    customers = orders.groupBy("customer_id").agg(F.count("invoice_date").alias("num_orders"), *of_groups())
    pairs = interactions.select("customer_id", "stock_code").distinct()
    num_items = pairs.groupBy("customer_id").agg(F.count("stock_code").alias("num_items"))
    texts = commonest_texts(interactions, "customer_id", ("showroom", "sales_channel"))
    joined = customer_ids
    for part in (customers, num_items, texts):
        joined = joined.join(part, on="customer_id", how="inner")
    return joined.select(*CUSTOMERS_CLEAN.names)
