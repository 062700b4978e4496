"""Lists and ranks of positives in one pass, against the ranks that published lists give."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import to_arrow_schema

from recsys_spark.baselines import query_batches as query_batches_module
from recsys_spark.baselines.list_tables import Always, ListTables, lists_by_protocol, with_positives
from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.baselines.ranking import Popular, Scored, rankings_batch
from recsys_spark.contracts.schemas import ITEM_ID_MAP, POSITIVE_RANKS, RANKINGS, SEQUENCES
from recsys_spark.evaluation.protocols import positive_ranks
from tests.support.frames import frame, rows

ELIGIBLE, KNOWN = 140, 150  # items; the others were never sold before the fit
CUSTOMERS = 40
CODES = pa.array([None, *(f"P{item}" for item in range(1, KNOWN + 1))])
ASKED = (
    "user_idx bigint, customer_id string, items array<bigint>, micros array<bigint>, query_ids array<bigint>, "
    "query_micros array<bigint>"
)


@dataclass(frozen=True)
class Shuffled:
    """Scores thirty items of a query, others for each seed. first: orders first purchases otherwise."""

    seed: int
    first: bool = False
    name: str = "shuffled"

    def popular(self) -> Popular:
        return Popular(np.arange(1, ELIGIBLE + 1), np.zeros(ELIGIBLE))

    def score(self, batch: QueryBatch) -> Scored:
        rows = np.repeat(np.arange(len(batch)), 30)
        items = 1 + (batch.query_ids[rows] * 7 + self.seed + 11 * np.tile(np.arange(30), len(batch))) % ELIGIBLE
        scores = (items * 37 + self.seed) % 101 / 101
        return Scored(rows, items, scores, 1 - scores if self.first else None)


@pytest.fixture(scope="module")
def world(spark) -> tuple[pa.RecordBatch, list[dict[str, int]]]:
    """An Arrow batch of `with_positives`, and the positives: repeats, first purchases, and items that no list has."""
    draw, asked, positives = random.Random(5), [], []
    for user in range(1, CUSTOMERS + 1):
        times = sorted(draw.choices(range(1000), k=draw.randrange(60)))
        bought = [draw.randrange(1, KNOWN + 1) for _ in times]
        queries = {user * 1_000_000 + number: draw.randrange(400, 1100) for number in range(draw.randrange(1, 4))}
        asked.append((user, f"c{user}", bought, times, list(queries), list(queries.values())))
        for query, moment in queries.items():
            before = {item for item, time in zip(bought, times, strict=True) if time < moment}
            again = draw.sample(sorted(before), len(before) // 9)
            wanted = {*again, *(draw.randrange(1, KNOWN + 1) for _ in range(4))}
            positives += [
                {"query_id": query, "user_idx": user, "pos_item_idx": item, "is_repeat": item in before}
                for item in sorted(wanted)
            ]
    found = with_positives(spark.createDataFrame(asked, ASKED), frame(spark, SEQUENCES, positives))
    held = [row.asDict(recursive=True) for row in found.collect()]
    return pa.RecordBatch.from_pylist(held, schema=to_arrow_schema(found.schema)), positives


@pytest.mark.parametrize(
    "models",
    [(Shuffled(3),), (Shuffled(3, first=True),), (Shuffled(3), Shuffled(8))],
    ids=["one order", "a model with two orders", "a model for each protocol"],
)
def test_positives_have_the_ranks_that_the_lists_give_them(spark, world, models):
    asked, positives = world
    published = [(0, []), (1, [])]
    for table, batch in ListTables(Always(models), lambda: CODES)([asked.slice(0, 25), asked.slice(25)]):
        published[table][1].extend(batch.to_pylist())
    (_, lists), (_, ranks) = published
    assert {row["protocol"] for row in lists} == {"all_items", "first_purchase"}

    every = [
        row
        for batch in query_batches(asked)
        for each in lists_by_protocol(models, batch).values()
        for row in rankings_batch(asked, batch, each, lambda: CODES).to_pylist()
    ]
    assert sorted(map(repr, lists)) == sorted(repr(row) for row in every if not row["protocol"].startswith("masked"))

    ids = [{"item_idx": item, "stock_code": f"P{item}"} for item in range(1, KNOWN + 1)]
    slowly = positive_ranks(
        frame(spark, RANKINGS, every), frame(spark, SEQUENCES, positives), frame(spark, ITEM_ID_MAP, ids)
    )
    names = POSITIVE_RANKS.names
    assert rows(frame(spark, POSITIVE_RANKS, ranks), *names) == rows(slowly, *names)
    for protocol in ("all_items", "masked_seen"):
        found = [row["rank"] for row in ranks if row["protocol"] == protocol]
        assert len(found) == len(positives)
        assert 0 < found.count(None) < len(found) // 2


@pytest.mark.parametrize("has_two_orders", [False, True])
def test_a_second_model_orders_first_purchases_and_what_goes_with_all_items_stays(world, has_two_orders):
    asked, _ = world
    batch = next(iter(query_batches(asked)))
    first, second = Shuffled(3, first=has_two_orders), Shuffled(8)
    alone, other = lists_by_protocol([first], batch), lists_by_protocol([second], batch)
    both = lists_by_protocol([first, second], batch)
    expected = {
        **{name: alone[name] for name in ("all_items", "masked_seen")},
        "first_purchase": other["first_purchase"],
        "masked_new": alone["masked_new" if has_two_orders else "first_purchase"],
    }
    assert {name: lists.items.tolist() for name, lists in both.items()} == {
        name: lists.items.tolist() for name, lists in expected.items()
    }
    assert all(lists.protocol == name for name, lists in both.items())


def test_queries_without_positives_have_lists_and_no_ranks(spark):
    asked = spark.createDataFrame([(1, "c1", [], [], [5], [9])], ASKED)
    found = with_positives(asked, frame(spark, SEQUENCES, []))
    held = [row.asDict(recursive=True) for row in found.collect()]
    batch = pa.RecordBatch.from_pylist(held, schema=to_arrow_schema(found.schema))
    lists = list(ListTables(Always((Shuffled(1),)), lambda: CODES)([batch]))
    assert [(table, rows.num_rows) for table, rows in lists] == [(0, 1), (0, 1), (1, 0)]


def test_queries_of_a_customer_that_lie_in_several_parts_have_the_same_lists_and_ranks(world, monkeypatch):
    asked, _ = world

    def found():
        tables = list(ListTables(Always((Shuffled(3), Shuffled(8))), lambda: CODES)([asked]))
        return sorted((table, repr(row)) for table, rows in tables for row in rows.to_pylist())

    whole = found()
    monkeypatch.setattr(query_batches_module, "_PAIRS_PER_BATCH", 150)
    assert len(list(query_batches(asked))) > 20
    assert found() == whole
