"""Raw purchase lines for tests: one good line, varied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.schemas import RAW_LINES
from tests.support.frames import frame

GOOD_LINE = {
    "invoice_id": "536365",
    "stock_code": "A1",
    "description": "LANTERN",
    "customer_id": "00042",
    "invoice_date": "2011-01-05T10:00:00",
    "quantity": "2",
    "line_amount": "3.50",
    "source_file": "file:/a.xlsx",
    "source_sheet": "Sheet1",
}


def raw_lines(spark: SparkSession, lines: Iterable[Mapping[str, Any]]) -> DataFrame:
    """RAW_LINES: each line is the good one with some cells changed; source_row counts from 2."""
    numbered = [{"source_row": row, **line} for row, line in enumerate(lines, start=2)]
    return frame(spark, RAW_LINES, numbered, **GOOD_LINE)
