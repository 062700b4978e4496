"""What a chunk of a customer's queries is told of his events."""

from datetime import datetime, timedelta

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from recsys_spark.baselines import query_batches
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.features.shards import QUERIES_PER_CHUNK, events_before_queries, queries_with_events
from recsys_spark.sequences.windows import MICROS_PER_DAY, ORDERS_PER_CUSTOMER
from tests.support.frames import frame, rows
from tests.support.worlds import START

HISTORIES = "user_idx bigint, items array<bigint>, micros array<bigint>, quantities array<double>"
FIRST = (START - datetime(1970, 1, 1)) // timedelta(microseconds=1)
NUM_ORDERS = {1: 3 * QUERIES_PER_CHUNK, 2: 5}  # by customer: the order of day n is of item n + 1 and n + 1 pieces


@pytest.fixture(scope="module")
def laid_out(spark):
    """The queries of both customers on all days but the first; a query's only candidate is what it buys."""
    histories = [
        (
            user,
            list(range(1, num + 1)),
            [FIRST + day * MICROS_PER_DAY for day in range(num)],
            [1.0 + d for d in range(num)],
        )
        for user, num in NUM_ORDERS.items()
    ]
    asked = [
        {
            "query_id": user * ORDERS_PER_CUSTOMER + day,
            "user_idx": user,
            "event_time": START + timedelta(days=day),
            "items": [day + 1],
        }
        for user, num in NUM_ORDERS.items()
        for day in range(1, num)
    ]
    return events_before_queries(
        frame(spark, CANDIDATES, asked), spark.createDataFrame(histories, HISTORIES), 1, seed=1
    )


def test_a_chunk_is_told_of_the_events_before_its_last_query_alone(laid_out):
    told = laid_out.filter("query_id = 0").select("user_idx", *(F.size(f"event_{n}") for n in ("items", "micros")))
    last_days = [(1, QUERIES_PER_CHUNK * chunk - 1) for chunk in (1, 2, 3)] + [(2, NUM_ORDERS[2] - 1)]
    assert rows(told) == [(user, day, day) for user, day in last_days]


@pytest.mark.parametrize("pairs_at_a_time", [3, 2_000_000])
def test_each_query_meets_all_events_before_it(laid_out, tmp_path, monkeypatch, pairs_at_a_time):
    monkeypatch.setattr(query_batches, "_PAIRS_PER_BATCH", pairs_at_a_time)
    seen = {}
    laid_out.write.parquet(str(tmp_path / "rows"))
    [file] = (tmp_path / "rows").glob("*.parquet")
    for batch, queries in queries_with_events(pq.ParquetFile(file).iter_batches(20)):
        assert len(batch) == queries.num_rows <= max(pairs_at_a_time // 100, 1)
        for row, query in enumerate(queries.column("query_id").to_pylist()):
            own = slice(batch.start[row], batch.end[row])
            seen[query] = batch.seen(row).tolist()
            assert batch.events.quantities[own].tolist() == seen[query]
    expected = {user * ORDERS_PER_CUSTOMER + day: day for user, num in NUM_ORDERS.items() for day in range(1, num)}
    assert seen == {query: list(range(1, day + 1)) for query, day in expected.items()}
