"""The context that towers are told of, against the calendar of Python and by hand."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from pyspark.sql import functions as F

from recsys_spark.contracts import schemas
from recsys_spark.contracts.context import CONTEXT_SIZES
from recsys_spark.retriever.context import contexts_at, query_contexts
from recsys_spark.retriever.examples import basket_examples, user_histories
from recsys_spark.retriever.periods import Grid
from recsys_spark.sequences.windows import MICROS_PER_DAY
from tests.support.frames import frame, rows

NORTH, SOUTH, WEB = 7_000_000_000_001, -5, 9
EPOCH = datetime(1970, 1, 1)
FIRST = datetime(2011, 12, 20, 8)  # a Tuesday
# Customer 1 buys in the North, a day later twice in the South, and on 20 January again; customer 2 never before.
LINES = [(FIRST, NORTH, 0), (FIRST + timedelta(days=1), SOUTH, 0), (FIRST + timedelta(days=1), SOUTH, WEB)]
LATER = [(FIRST + timedelta(days=31), NORTH, WEB)]


def micros(time):
    return int((time - EPOCH).total_seconds() * 1_000_000)


def place(value, kind):
    return value % CONTEXT_SIZES[kind] + 1


def histories(spark, lines):
    own = [list(column) for column in zip(*lines, strict=True)]
    known = (1, "acme", list(range(3, 3 + len(lines))), [micros(time) for time in own[0]], own[1], own[2])
    nobody = (2, "bell", [4], [micros(FIRST + timedelta(days=400))], [NORTH], [WEB])
    ddl = "user_idx bigint, customer_id string, items array<bigint>, micros array<bigint>"
    return spark.createDataFrame([known, nobody], f"{ddl}, showrooms array<bigint>, channels array<bigint>")


def queries(spark, *asked):
    lines = [
        {
            "query_id": number,
            "user_idx": user,
            "customer_id": {1: "acme", 2: "bell"}[user],
            "event_time": time,
            "history": [3],
            "history_days": [1.0],
            "positives": [5],
        }
        for number, (user, time) in enumerate(asked, 1)
    ]
    return frame(spark, schemas.QUERIES, lines)


ASKED = [
    (1, FIRST),
    (1, FIRST + timedelta(days=1)),
    (1, FIRST + timedelta(days=8, hours=1)),
    (1, FIRST + timedelta(days=31)),
    (2, FIRST),
]
# month, weekday from 1 for Sunday, bucket of recency, showroom, channel
EXPECTED = [
    [12, 3, 0, 0, 0],
    [12, 4, 1, place(NORTH, "showroom"), 0],
    [12, 4, 3, place(SOUTH, "showroom"), place(WEB, "sales_channel")],
    [1, 6, 5, place(SOUTH, "showroom"), place(WEB, "sales_channel")],
    [12, 3, 0, 0, 0],
]


def test_a_query_knows_its_day_and_what_lies_strictly_before_it(spark):
    found = query_contexts(histories(spark, LINES + LATER), queries(spark, *ASKED))
    assert rows(found) == list(enumerate(EXPECTED, 1))


def test_later_events_change_no_context(spark):
    asked = queries(spark, *ASKED)
    assert rows(query_contexts(histories(spark, LINES), asked)) == list(enumerate(EXPECTED, 1))


def test_histories_without_places_leave_them_out(spark):
    bare = histories(spark, LINES).drop("showrooms", "channels")
    found = [context for _, context in rows(query_contexts(bare, queries(spark, *ASKED)))]
    assert found == [[*context[:3], 0, 0] for context in EXPECTED]


def test_examples_and_customers_carry_their_context(spark):
    known, asked = histories(spark, LINES + LATER), queries(spark, *ASKED)
    grid, sequences = Grid(micros(FIRST), 28 * MICROS_PER_DAY), frame(spark, schemas.SEQUENCES, [])
    examples = basket_examples(asked, sequences, grid, query_contexts(known, asked)).orderBy("user_idx", "event_time")
    assert [row.context for row in examples.select("context").collect()] == EXPECTED
    cutoff = micros(FIRST + timedelta(days=1))
    users = user_histories(known, cutoff, 4, contexts_at(known, cutoff))
    at_cutoff = [12, 4, 1, place(SOUTH, "showroom"), place(WEB, "sales_channel")]
    assert rows(users, "user_idx", "context") == [(1, at_cutoff)]


@pytest.mark.parametrize("days", [0, 59, 365, 13_000, 20_000])
def test_months_and_weekdays_are_pythons(spark, days):
    moment = datetime(1970, 1, 1, 23, tzinfo=timezone.utc) + timedelta(days=days)
    asked = queries(spark, (1, moment.replace(tzinfo=None)))
    ((_, context),) = rows(query_contexts(histories(spark, LINES), asked.filter(F.lit(True))))
    assert context[:2] == [moment.month, moment.isoweekday() % 7 + 1]
