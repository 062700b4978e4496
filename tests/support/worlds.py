"""Planted worlds: data whose answer is known."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.schemas import INTERACTIONS_CLEAN
from tests.support.frames import frame

START = datetime(2011, 1, 1, 9)


def interactions(spark: SparkSession, events: list[tuple[str, str, int]], **defaults: Any) -> DataFrame:
    """INTERACTIONS_CLEAN from (customer_id, stock_code, day) triples; days count from START."""
    rows = [
        {"customer_id": customer, "stock_code": code, "invoice_date": START + timedelta(days=day)}
        for customer, code, day in events
    ]
    values = {"quantity": 1, "line_amount": 2, "price": 2.0, "num_lines": 1, "was_winsorised": False, **defaults}
    return frame(spark, INTERACTIONS_CLEAN, rows, **values)


def checkerboard(num_customers: int = 10, num_items: int = 10, days: int = 10) -> list[tuple[str, str, int]]:
    """Even customers take even items, odd ones odd items, one item a day, starting at different places."""
    per_side = num_items // 2
    return [
        (f"c{customer}", f"i{2 * ((customer // 2 + day) % per_side) + customer % 2}", day)
        for customer in range(num_customers)
        for day in range(days)
    ]
