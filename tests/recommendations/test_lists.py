from __future__ import annotations

import openpyxl
import pyarrow as pa
from pyspark.sql import functions as F

from recsys_spark.recommendations.lists import Excluding, list_batches, reason
from recsys_spark.workbook_writer import SheetColumn, write_workbook
from tests.support.frames import column
from tests.support.models import GivenScores


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


DAY = 86_400_000_000


def listed(model, k=4, protocol="all_items"):
    """Rows of one customer that bought item 3 on days 0 and 2 and item 5 on day 1, as of day 4."""
    asked = pa.RecordBatch.from_pydict(
        {
            "customer_id": ["acme"],
            "items": [[3, 5, 3]],
            "micros": [[0, DAY, 2 * DAY]],
            "query_ids": [[1]],
            "query_micros": [[4 * DAY]],
        }
    )
    (batch,) = list_batches([asked], model, k, protocol)
    names = ("item_idx", "rank", "is_scored", "times_bought", "days_ago")
    return list(zip(*(batch.column(name).to_pylist() for name in names), strict=True))


MODEL = GivenScores((1, 3, 5, 7), ((0, 5, 2.0), (0, 3, 1.0)))


def test_a_list_tells_what_the_customer_bought_and_what_is_merely_popular():
    assert listed(MODEL) == [(5, 1, True, 1, 3), (3, 2, True, 2, 2), (1, 3, False, 0, None), (7, 4, False, 0, None)]


def test_only_new_lists_nothing_that_the_customer_bought():
    assert [row[0] for row in listed(MODEL, protocol="first_purchase")] == [1, 7]


def test_excluded_codes_are_in_no_list_however_they_are_spelled():
    codes = pa.array([None, "A1", None, "A3", None, "A5", None, "A7"])
    barred = Excluding(MODEL, (" a5", "A7"), lambda: codes)
    assert [row[0] for row in listed(barred)] == [3, 1]


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
