"""Chunks of queries: what each is told of its customer's events, and how they lie in part files."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from recsys_spark.candidates.chunks import QUERIES_PER_CHUNK, PartReader, in_chunks, lay_out, num_parts
from recsys_spark.contracts.candidate_config import CandidatesConfig
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.contracts.errors import DataError
from recsys_spark.part_files import map_batches, parts_of
from recsys_spark.sequences.windows import MICROS_PER_DAY, ORDERS_PER_CUSTOMER
from tests.support.frames import rows
from tests.support.worlds import START

HISTORIES = "user_idx bigint, items array<bigint>, micros array<bigint>, quantities array<double>"
QUERIES = "user_idx bigint, customer_id string, query_id bigint, event_time timestamp"
FIRST = (START - datetime(1970, 1, 1)) // timedelta(microseconds=1)
NUM_ORDERS = {1: 3 * QUERIES_PER_CHUNK, 2: 5}  # by customer: the order of day n is of item n + 1 and n + 1 pieces
ASKED = [
    (user, str(user), user * ORDERS_PER_CUSTOMER + day, START + timedelta(days=day))
    for user, num in NUM_ORDERS.items()
    for day in range(1, num)
]


def chunks(spark, asked=ASKED, parts=1):
    events = [
        (user, [*range(1, num + 1)], [FIRST + d * MICROS_PER_DAY for d in range(num)], [1.0 + d for d in range(num)])
        for user, num in NUM_ORDERS.items()
    ]
    queries = spark.createDataFrame(asked, QUERIES).repartition(3)
    return in_chunks(spark.createDataFrame(events, HISTORIES), queries, parts, seed=1)


def write_candidates(candidates, parts, folder):
    """CANDIDATES, or those forced, in part files as their job leaves them."""
    Path(folder).mkdir()
    laid_out = lay_out(candidates, F.col("query_id"), parts, seed=1)
    parts_of(map_batches(laid_out, lambda batches: batches, CANDIDATES), folder).collect()


def test_a_chunk_is_told_of_the_events_up_to_its_last_query(spark):
    found = chunks(spark)
    sizes = (F.size(name).alias(name) for name in ("query_ids", "items", "micros", "quantities"))
    num = NUM_ORDERS[2]
    last_days = [(QUERIES_PER_CHUNK - 1, QUERIES_PER_CHUNK)]
    last_days += [(QUERIES_PER_CHUNK, QUERIES_PER_CHUNK * chunk) for chunk in (2, 3)]
    assert rows(found.select("user_idx", *sizes)) == [
        *((1, asked, events, events, events) for asked, events in last_days),
        (2, num - 1, num, num, num),
    ]


def test_chunks_of_some_of_the_queries_lie_where_those_of_all_do_and_in_the_same_order(spark):
    every, some = (
        chunks(spark, asked, parts=2).select(F.spark_partition_id(), F.explode("query_ids")).collect()
        for asked in (ASKED, ASKED[::3])
    )
    kept = {query for _, _, query, _ in ASKED[::3]}
    assert [tuple(row) for row in some] == [tuple(row) for row in every if row[1] in kept]
    assert len({row[0] for row in every}) == 2


def test_a_part_file_holds_about_as_many_candidates_as_asked_for():
    config = CandidatesConfig(max_per_query=250, shard_rows=1_000)
    assert [num_parts(queries, config) for queries in (0, 1, 5, 6, 40)] == [1, 1, 1, 2, 10]


@pytest.fixture
def part(tmp_path):
    """A file of 1,200 queries, more than are read at once, each with its number as only item."""
    ids = np.random.default_rng(1).permutation(1_200)
    table = pa.table({"query_id": ids, "items": pa.array([[int(each)] for each in ids])})
    pq.write_table(table, tmp_path / "part_00000_0.parquet")
    return ids, str(tmp_path)


@pytest.mark.parametrize("at_once", [7, 500, 1_300])
def test_rows_are_found_in_the_order_of_the_file_and_others_passed_over(part, at_once):
    ids, folder = part
    asked = ids[ids % 3 == 0]
    reader = PartReader(folder, "part_00000_0.parquet", ["query_id", "items"])
    for first in range(0, len(asked), at_once):
        some = asked[first : first + at_once]
        found = reader.rows(some)
        assert found.column("query_id").to_pylist() == some.tolist()
        assert found.column("items").to_pylist() == [[each] for each in some.tolist()]


def test_queries_that_do_not_lie_there_or_not_in_this_order_are_an_error(part):
    ids, folder = part
    name, columns = "part_00000_0.parquet", ["query_id", "items"]
    with pytest.raises(DataError, match="laid out otherwise"):
        PartReader(folder, name, columns).rows(np.array([ids[0], 5_000]))
    with pytest.raises(DataError, match="laid out otherwise"):
        PartReader(folder, None, columns).rows(ids[:1])
    with pytest.raises(DataError, match="another order"):
        PartReader(folder, name, columns).rows(ids[[1, 0]])
    read_on = PartReader(folder, name, columns)
    read_on.rows(ids[5:6])
    with pytest.raises(DataError, match="laid out otherwise"):
        read_on.rows(ids[4:5])
