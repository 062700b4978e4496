from __future__ import annotations

import openpyxl
from pyspark.sql import functions as F

from recsys_spark.recommendations.lists import reason
from recsys_spark.workbook_writer import SheetColumn, write_workbook
from tests.support.frames import column


def test_reasons_tell_the_customers_own_purchases_first(spark):
    facts = [
        (7, 12, 3, 9, "bought 7 times, last 12 days ago"),
        (1, 1, 0, 9, "bought once, last 1 day ago"),
        (2, 0, 0, 9, "bought 2 times, last today"),
        (0, None, 214, 900, "popular: bought 214 times in the last 28 days"),
        (0, None, 0, 1200, "popular: bought 1,200 times by all customers"),
    ]
    ddl = "times_bought bigint, days_ago bigint, num_recent_events bigint, num_events bigint, expected string"
    frame = spark.createDataFrame(facts, ddl)
    assert column(frame.select(reason(28).alias("reason")), "reason") == [fact[-1] for fact in facts]


def test_a_full_sheet_goes_on_in_the_next(spark, tmp_path):
    path = tmp_path / "book.xlsx"
    frame = spark.range(5).select(F.col("id"), F.lit("=1+1").alias("text"))
    columns = [SheetColumn("id", "Id"), SheetColumn("text", "Text")]
    write_workbook(frame.repartition(3), columns, ["id"], "Rows", str(path), sheet_rows=2)
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["Rows", "Rows 2", "Rows 3"]
    assert [[cell.value for cell in row] for row in book["Rows 2"].iter_rows()] == [
        ["Id", "Text"],
        [2, "=1+1"],
        [3, "=1+1"],
    ]
    assert book["Rows"]["B2"].data_type == "s"
