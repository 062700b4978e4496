from __future__ import annotations

from functools import partial

import numpy as np
import openpyxl
import pyarrow as pa
from pyspark.sql import functions as F

from recsys_spark.baselines.ranking import Scored
from recsys_spark.recommendations.evidence import EvidenceSource
from recsys_spark.recommendations.lists import Lister, Ready, list_batches
from recsys_spark.recommendations.policy import Policy
from recsys_spark.recommendations.rules import NUMBER_OF, RULES, ItemRules
from recsys_spark.workbook_writer import SheetColumn, write_workbook
from tests.support.models import GivenScores

DAY = 86_400_000_000
NAMES = ("item_idx", "rank", "is_scored", "times_bought", "days_ago", "gap_days")
NO_EVIDENCE = EvidenceSource(None, None, recent_items=5)


def rows_of(model, k=4, share_new=None, rules=None, excluded=None):
    """LISTED of one customer that bought item 3 on days 0 and 2 and item 5 on day 1, as of day 4."""
    asked = {
        "customer_id": ["acme"],
        "items": [[3, 5, 3]],
        "micros": [[0, DAY, 2 * DAY]],
        "query_ids": [[1]],
        "query_micros": [[4 * DAY]],
    }
    if excluded is not None:
        asked["excluded"] = [excluded]
    lister = Lister(model, Policy(k, share_new), partial(lambda held: held, rules or ItemRules.none(9)), NO_EVIDENCE)
    batches = list_batches([pa.RecordBatch.from_pydict(asked)], lister)
    return [row for batch in batches for row in batch.to_pylist()]


def listed(model, names=NAMES, **given):
    return [tuple(row[name] for name in names) for row in rows_of(model, **given) if row["rank"]]


MODEL = GivenScores((1, 3, 5, 7), ((0, 5, 2.0), (0, 3, 1.0)))


def test_a_list_tells_what_the_customer_bought_and_what_is_merely_popular():
    assert listed(MODEL) == [
        (5, 1, True, 1, 3, None),
        (3, 2, True, 2, 2, 2.0),
        (1, 3, False, 0, None, None),
        (7, 4, False, 0, None, None),
    ]


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
    found = listed(Ready(MODEL, scored), k=3, names=("item_idx", "source_ranks"))
    assert found == [
        (3, [{"source": "own", "rank": 4}, {"source": "item_knn", "rank": 9}]),
        (7, [{"source": "item_knn", "rank": 1}, {"source": "ease", "rank": 2}]),
        (1, None),
    ]


def test_a_customers_list_without_what_rules_and_he_bar_tells_how_much_that_was():
    rules = ItemRules.none(9)
    rules.barred[5] = NUMBER_OF["out_of_stock"]
    found = rows_of(MODEL, k=3, rules=rules, excluded=[7])
    assert [row["item_idx"] for row in found if row["rank"]] == [3, 1]
    (removed,) = [row for row in found if row["rank"] == 0]
    assert removed["missing"] == 1
    told = dict(zip(RULES, removed["passed_over"], strict=True))
    assert {rule: count for rule, count in told.items() if count} == {"out_of_stock": 1, "customer_exclusions": 1}


def test_a_list_that_no_rule_touches_has_no_row_of_removals():
    assert [row["rank"] for row in rows_of(MODEL)] == [1, 2, 3, 4]


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
