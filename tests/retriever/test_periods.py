"""Snapshots of recent sales, worked by hand: ten-day steps from 6 January, a cutoff on the 31st."""

from datetime import datetime

import pytest
from pyspark.sql import functions as F

from recsys_spark.retriever.periods import Grid, item_sales
from recsys_spark.sequences.windows import MICROS_PER_DAY
from tests.support.frames import rows

LAST = datetime(2011, 1, 31)
FIRST = datetime(2011, 1, 6)


def micros(time):
    return int((time - datetime(1970, 1, 1)).total_seconds() * 1_000_000)


GRID = Grid(micros(FIRST), 10 * MICROS_PER_DAY)  # 6, 16, 26 January and so on


@pytest.mark.parametrize(
    ("time", "period"),
    [
        (FIRST, 0),
        (datetime(2011, 1, 10), 0),
        (datetime(2011, 1, 16), 0),  # at a snapshot, which holds the query's own moment: the one before
        (datetime(2011, 1, 16, 0, 0, 1), 1),
        (datetime(2011, 1, 31), 2),
    ],
)
def test_a_query_knows_the_newest_snapshot_before_it(spark, time, period):
    frame = spark.createDataFrame([(time,)], "time timestamp").select(GRID.period_of(F.col("time")))
    assert rows(frame) == [(period,)]


def test_the_newest_snapshot_may_lie_at_the_cutoff():
    assert GRID.last_before(micros(datetime(2011, 1, 26))) == 2
    assert GRID.last_before(micros(datetime(2011, 1, 25))) == 1


def test_each_snapshot_counts_the_days_before_it(spark):
    # 8 January lies within 15 days before the 16th; the 20th before the 26th; both after 15 January before the cutoff.
    events = [(7, datetime(2011, 1, 8)), (7, datetime(2011, 1, 20)), (9, LAST), (9, FIRST)]
    frame = spark.createDataFrame(events, "item_idx bigint, invoice_date timestamp")
    found = rows(item_sales(frame, GRID, micros(LAST), recent_days=15))
    # Of item 7 the 26th has the 20th within its days and the 8th in those before; the 31st the 8th in those before.
    assert sorted(found) == [
        (0, 9, 1, 0),
        (1, 7, 1, 0),
        (1, 9, 1, 0),
        (2, 7, 1, 1),
        (2, 9, 0, 1),
        (3, 7, 1, 1),
        (3, 9, 1, 1),
    ]


def test_an_event_as_old_as_the_window_is_out(spark):
    frame = spark.createDataFrame([(7, datetime(2011, 1, 16)), (8, LAST)], "item_idx bigint, invoice_date timestamp")
    found = rows(item_sales(frame, GRID, micros(LAST), recent_days=10))
    # Neither the 26th nor the 31st sees the 16th within its days; it is among those before.
    assert sorted(found) == [(1, 7, 1, 0), (2, 7, 0, 1), (3, 7, 0, 1), (3, 8, 1, 0)]
