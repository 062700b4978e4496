from __future__ import annotations

import numpy as np
import openpyxl
import pyarrow as pa
from pyspark.sql import functions as F

from recsys_spark.baselines.ranking import Scored
from recsys_spark.recommendations.lists import Excluding, Ready, list_batches
from recsys_spark.recommendations.reasons import reason, reason_text
from recsys_spark.workbook_writer import SheetColumn, write_workbook
from tests.support.frames import column
from tests.support.models import GivenScores


def test_reasons_tell_the_customers_own_purchases_first(spark):
    facts = [
        (7, 12, 3, 9, "own", "bought 7 times, last 12 days ago"),
        (1, 1, 0, 9, None, "bought once, last 1 day ago"),
        (2, 0, 0, 9, None, "bought 2 times, last today"),
        (0, None, 3, 9, "ease", "goes with what the customer buys"),
        (0, None, 214, 900, "rolling_popularity", "popular: bought 214 times in the last 28 days"),
        (0, None, 214, 900, None, "popular: bought 214 times in the last 28 days"),
        (0, None, 0, 1200, None, "popular: bought 1,200 times by all customers"),
    ]
    ddl = (
        "times_bought bigint, days_ago bigint, num_recent_events bigint, num_events bigint, best_source string, "
        "expected string"
    )
    frame = spark.createDataFrame(facts, ddl)
    expected = [fact[-1] for fact in facts]
    assert column(frame.select(reason(28).alias("reason")), "reason") == expected
    in_python = [
        reason_text(times, days or 0, source, ever, recent, 28) for times, days, recent, ever, source, _ in facts
    ]
    assert in_python == expected


DAY = 86_400_000_000
NAMES = ("item_idx", "rank", "is_scored", "times_bought", "days_ago")


def listed(model, k=4, share_new=None, names=NAMES):
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
    (batch,) = list_batches([asked], model, k, share_new)
    return list(zip(*(batch.column(name).to_pylist() for name in names), strict=True))


MODEL = GivenScores((1, 3, 5, 7), ((0, 5, 2.0), (0, 3, 1.0)))


def test_a_list_tells_what_the_customer_bought_and_what_is_merely_popular():
    assert listed(MODEL) == [(5, 1, True, 1, 3), (3, 2, True, 2, 2), (1, 3, False, 0, None), (7, 4, False, 0, None)]


def test_what_was_never_bought_comes_first_where_all_is_to_be_new():
    assert [row[0] for row in listed(MODEL, share_new=1.0)] == [1, 7, 5, 3]


def test_half_of_a_list_is_new_where_that_is_asked_for():
    assert [row[0] for row in listed(MODEL, share_new=0.5)] == [1, 5, 7, 3]
    assert [row[1] for row in listed(MODEL, share_new=0.5)] == [1, 2, 3, 4]


def test_two_stages_tell_the_sources_of_each_item_best_first():
    scored = Scored(
        rows=np.zeros(2, np.int64),
        items=np.array([7, 3]),
        scores=np.array([1.0, 2.0]),
        source_ranks={"own": np.array([0, 4]), "ease": np.array([2, 0]), "item_knn": np.array([1, 9])},
    )
    found = listed(Ready(MODEL, scored), k=3, names=("item_idx", "sources", "best_source"))
    assert found == [(3, "own 4, item_knn 9", "own"), (7, "item_knn 1, ease 2", "item_knn"), (1, None, None)]


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
