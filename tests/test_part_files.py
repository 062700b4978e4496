from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark import TaskContext

from recsys_spark.contracts.schemas import Column, Table
from recsys_spark.part_files import _Part as Part
from recsys_spark.part_files import map_batches, row_hashes
from recsys_spark.storage import Storage
from tests.support.frames import rows

LISTS = Table(
    grain=("id",),
    columns=(
        Column("id", "bigint", "a number"),
        Column("name", "string", "called"),
        Column("at", "timestamp", "UTC"),
        Column("values", "array<float>", "two each"),
    ),
)
LABEL = "lists.parquet"


def lists_of(batches):
    for batch in batches:
        ids = batch.column(0).to_numpy()
        pairs = pa.array([[float(i), i / 2] for i in ids], pa.list_(pa.float32()))
        names = pa.array([f"name {i}" if i % 3 else None for i in ids], pa.string())
        at = pa.array(ids * 1_000_000).cast(pa.timestamp("us", tz="UTC"))
        yield pa.RecordBatch.from_arrays([batch.column(0), names, at, pairs], names=LISTS.names)


@pytest.fixture
def storage(spark, tmp_path) -> Storage:
    opened = Storage(str(tmp_path / "root"), spark)
    opened.open_root()
    return opened


def published(storage, frame):
    manifest = storage.stage_table("lists", LABEL, frame, LISTS)
    storage.publish("lists", LABEL, manifest)
    return manifest


def ids(spark, number, partitions):
    return spark.range(0, number, numPartitions=partitions)


def test_texts_are_kept_in_dictionaries_and_numbers_are_not(tmp_path):
    schema = pa.schema([("id", pa.int64()), ("name", pa.string()), ("codes", pa.list_(pa.string()))])
    batch = pa.RecordBatch.from_pydict({"id": [1, 2], "name": ["a", "a"], "codes": [["x", "y"], ["x"]]}, schema=schema)
    with ExitStack() as stack:
        part = Part(schema, str(tmp_path), "one.parquet", stack)
        part.add(batch)
        part.flush()
    columns = pq.read_metadata(tmp_path / "one.parquet").row_group(0)
    has_dictionary = [columns.column(at).has_dictionary_page for at in range(3)]
    assert has_dictionary == [False, True, True]
    assert pq.read_table(tmp_path / "one.parquet").to_pylist() == batch.to_pylist()


def test_what_tasks_write_reads_back_as_what_spark_would_write(spark, storage):
    made = map_batches(ids(spark, 20, 3), lists_of, LISTS)
    assert published(storage, made).rows == 20
    assert rows(storage.read_table(LABEL, LISTS, verify="full")) == rows(made)
    assert len(list(Path(storage.root, LABEL).glob("part_*.parquet"))) == 3


def test_a_batch_lies_in_one_row_group_however_long_it_is(spark, storage):
    one = Table(grain=("id",), columns=(Column("id", "bigint", "a number"),))
    long = 1_048_577  # one more than pyarrow puts into a row group of its own accord

    def joined(batches):
        yield pa.RecordBatch.from_pydict({"id": np.concatenate([batch.column(0).to_numpy() for batch in batches])})

    made = map_batches(ids(spark, long, 1), joined, one)
    storage.publish("lists", LABEL, storage.stage_table("lists", LABEL, made, one))
    [file] = Path(storage.root, LABEL).glob("part_*.parquet")
    assert [pq.read_metadata(file).row_group(n).num_rows for n in range(pq.read_metadata(file).num_row_groups)] == [
        long
    ]


def test_the_fingerprint_does_not_depend_on_partitions(spark, storage):
    contents = [published(storage, map_batches(ids(spark, 20, n), lists_of, LISTS)).content for n in (1, 7)]
    assert contents[0] == contents[1]
    assert published(storage, map_batches(ids(spark, 19, 2), lists_of, LISTS)).content != contents[0]


def test_a_table_without_a_row_is_a_table(spark, storage):
    assert published(storage, map_batches(ids(spark, 0, 2), lists_of, LISTS)).rows == 0
    assert rows(storage.read_table(LABEL, LISTS)) == []


def test_a_frame_that_was_filtered_is_written_as_filtered(spark, storage):
    assert published(storage, map_batches(ids(spark, 20, 2), lists_of, LISTS).filter("id < 5")).rows == 5


def test_files_of_attempts_that_are_not_in_the_result_are_removed(spark, storage):
    folder = Path(storage.root, "_staging", "lists", LABEL)

    def leaves_a_stray(batches):
        (folder / f"part-stray-{TaskContext.get().taskAttemptId()}.parquet").write_bytes(b"half")
        yield from lists_of(batches)

    assert published(storage, map_batches(ids(spark, 20, 2), leaves_a_stray, LISTS)).rows == 20
    assert not list(Path(storage.root, LABEL).glob("part-stray*"))


def test_rows_that_differ_in_one_value_of_a_list_or_in_its_order_have_other_hashes():
    batch = pa.RecordBatch.from_pydict({"a": [1, 1, 1, 1], "b": [[1, 2], [2, 1], [1, 3], [1, 2]]})
    hashes = row_hashes(batch)
    assert hashes[0] == hashes[3]
    assert len(np.unique(hashes)) == 3
