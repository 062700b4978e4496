"""Lines that cleaning lets pass where its rules are off: nobody's, without a time, or without a quantity."""

from datetime import timedelta

import numpy as np
import pytest
from pyspark.sql import functions as F

from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.rolling import item_days
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.contracts.schemas import ITEM_ID_MAP
from recsys_spark.features.customer_features import MISSING
from recsys_spark.features.item_features import fit_item_facts
from recsys_spark.features.pair_features import repeat_features
from recsys_spark.sequences.windows import MICROS_PER_DAY, Events
from tests.support.frames import frame, rows
from tests.support.worlds import START, interactions


@pytest.fixture
def items(spark):
    return frame(spark, ITEM_ID_MAP, [{"item_idx": 1, "stock_code": "A"}])


def test_lines_of_nobody_are_sales_and_no_customer(spark, items):
    bought = [("acme", "A", 0), ("acme", "A", 4), ("bell", "A", 1)]
    end = (START + timedelta(days=30)).isoformat()
    columns = ("num_events", "num_customers", "log_gap")
    [alone] = rows(fit_item_facts(interactions(spark, bought), items, end), *columns)
    anonymous = [(None, "A", day) for day in range(10, 20)]
    [found] = rows(fit_item_facts(interactions(spark, bought + anonymous), items, end), *columns)
    assert alone == (3, 2, pytest.approx(np.log1p(4), abs=1e-5))
    assert found == (13, *alone[1:])


def test_a_line_without_a_time_is_a_sale_of_no_day(spark, items):
    lines = interactions(spark, [("acme", "A", 0), ("acme", "A", 0), ("bell", "A", 3)])
    undated = lines.withColumn("invoice_date", F.when(F.col("customer_id") != "bell", F.col("invoice_date")))
    [(day, events)] = rows(item_days(undated, items), "day", "num_events")
    assert (day, events) == ((START - START.replace(year=1970, month=1, day=1, hour=0)).days, 2)


def test_a_last_purchase_that_tells_no_quantity_has_the_missing_one():
    micros = np.array([1, 2]) * MICROS_PER_DAY
    events = Events(np.array([0, 2]), np.array([7, 8]), micros, np.array([np.nan, 5.0]))
    one = np.zeros(1, dtype=np.int64)
    batch = QueryBatch(one, np.array([9 * MICROS_PER_DAY]), one, one, np.array([2]), events, np.ones(1, dtype=np.int64))
    offered = CandidateRows(np.zeros(2, np.int64), np.array([7, 8]), np.zeros((2, 1), np.int32), np.zeros((2, 1)))
    assert repeat_features(batch, offered)["quantity_last"].tolist() == [MISSING["quantity_last"], 5.0]
