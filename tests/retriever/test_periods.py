"""Snapshots of recent sales, worked by hand: ten-day steps from 6 January, a cutoff on the 31st."""

from datetime import datetime, timedelta

import pytest
from pyspark.sql import functions as F

from recsys_spark.retriever.periods import Grid, item_sales, sales_on_grid
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


def sales_of(events, cutoff, recent_days):
    """Of a fit with that cutoff, by snapshots of all events."""
    known = events.filter(F.col("invoice_date") <= F.lit(cutoff))
    on_grid = sales_on_grid(events, GRID, recent_days)
    return rows(item_sales(on_grid, known, GRID, micros(cutoff), recent_days))


def test_each_snapshot_counts_the_days_before_it(spark):
    # 8 January lies within 15 days before the 16th; the 20th before the 26th; both after 15 January before the cutoff.
    events = [(7, datetime(2011, 1, 8)), (7, datetime(2011, 1, 20)), (9, LAST), (9, FIRST)]
    frame = spark.createDataFrame(events, "item_idx bigint, invoice_date timestamp")
    found = sales_of(frame, LAST, recent_days=15)
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
    found = sales_of(frame, LAST, recent_days=10)
    # Neither the 26th nor the 31st sees the 16th within its days; it is among those before.
    assert sorted(found) == [(1, 7, 1, 0), (2, 7, 0, 1), (3, 7, 0, 1), (3, 8, 1, 0)]


@pytest.mark.parametrize("cutoff", [datetime(2011, 1, 25, 12), datetime(2011, 1, 26), LAST])
@pytest.mark.parametrize("recent_days", [3, 10, 25])
def test_the_snapshots_of_a_fit_know_nothing_of_what_comes_after_its_cutoff(spark, cutoff, recent_days):
    events = [(item, FIRST + timedelta(hours=13 * number)) for number in range(60) for item in (number % 7, 8)]
    frame = spark.createDataFrame(events, "item_idx bigint, invoice_date timestamp")
    known = [(item, time) for item, time in events if time <= cutoff]
    newest = GRID.last_before(micros(cutoff))
    snapshots = [(period, FIRST + timedelta(days=10 * period)) for period in range(newest + 1)]
    expected = []
    for period, moment in [*snapshots, (newest + 1, cutoff)]:
        for item in sorted({item for item, _ in known}):
            ages = [moment - time for other, time in known if other == item and time <= moment]
            windows = [sum(age < timedelta(days=days) for age in ages) for days in (recent_days, 2 * recent_days)]
            if windows[1]:
                expected.append((period, item, windows[0], windows[1] - windows[0]))
    assert len(known) < len(events)
    assert sorted(sales_of(frame, cutoff, recent_days)) == sorted(expected)
