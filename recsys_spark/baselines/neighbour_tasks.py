"""The tasks that multiply packed blocks: each takes some columns and writes their neighbours to a file of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext

from recsys_spark.baselines.column_similarity import ColumnGroup, SimilarityRule, column_groups
from recsys_spark.baselines.sparse_blocks import load_block
from recsys_spark.paths import filesystem
from recsys_spark.small_files import move

FOUND = "neighbours.parquet"  # below the folder of the product
NUM_PLACES = 4096  # what tasks divide among them, so the most tasks of a product
_SCHEMA = pa.schema([("col", pa.int64()), ("neighbour", pa.int64()), ("score", pa.float32()), ("rank", pa.int32())])
_BYTES_PER_NEIGHBOUR = 32  # while found: the sorted keys, what came since, and a copy to sort them
_ROWS_PER_BATCH = 200_000
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class MultiplyPlan:
    """What every multiplying task needs to know. Blocks without a column are left out.

    folder: where the neighbours go. packed: where the blocks lie, another folder for each product, as Python workers
    keep blocks by their path. num_rows: of the whole matrix, plus one. held_bytes: what a task may hold of neighbours
    that it has not written.
    """

    folder: str
    packed: str
    blocks: tuple[int, ...]
    num_rows: int
    held_bytes: int
    rule: SimilarityRule


def multiplier(plan: MultiplyPlan) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For mapInArrow on a column of places, ascending: write the neighbours of the columns there; yields how many."""

    def multiply(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        places = [place for batch in batches for place in batch.column(0).to_pylist()]
        if places:
            rows = _write_neighbours(plan, places[0], places[-1] + 1)
            yield pa.RecordBatch.from_arrays([pa.array([rows], pa.int64())], names=["rows"])

    return multiply


def _write_neighbours(plan: MultiplyPlan, first: int, stop: int) -> int:
    """Write what a task finds for its places to a file that appears whole or not at all; returns its rows."""
    context = TaskContext.get()
    assert context is not None
    fs, base = filesystem(plan.folder)
    aside = f"{base}/{FOUND}/_part_{first:05d}_{context.taskAttemptId()}"
    rows = 0
    # Dictionaries would make the file a tenth smaller and its writing four tenths slower.
    with (
        fs.open(aside, "wb") as file,
        pq.ParquetWriter(file, _SCHEMA, compression="zstd", use_dictionary=False) as writer,
    ):
        for batch in _neighbour_batches(groups_at(plan, first, stop)):
            writer.write_batch(batch)
            rows += batch.num_rows
    move(fs, aside, f"{base}/{FOUND}/part_{first:05d}.parquet")
    return rows


def groups_at(plan: MultiplyPlan, first: int, stop: int) -> Iterator[ColumnGroup]:
    """The groups of columns at the places first..stop, after they have seen every block.

    Blocks lie side by side on 0..NUM_PLACES, and group n of a block at the n-th multiple of the golden ratio, modulo 1,
    of its stretch: so however the places are cut, each part has its share of the long and of the short columns.
    """
    start, end = (place * len(plan.blocks) / NUM_PLACES for place in (first, stop))
    for number in range(int(start), math.ceil(end)):
        own = load_block(plan.packed, plan.blocks[number], plan.num_rows)
        every = enumerate(column_groups(own, plan.rule))
        mine = (group for n, group in every if start <= number + n * _GOLDEN_RATIO % 1 < end)
        for groups in _portions(mine, plan.held_bytes // _BYTES_PER_NEIGHBOUR):
            for other in plan.blocks[number:] + plan.blocks[:number]:  # first the block that is at hand
                # Beside its own block a task holds one more: `load_block` keeps the last.
                block = own if other == plan.blocks[number] else load_block(plan.packed, other, plan.num_rows)
                for group in groups:
                    group.visit(block)
            yield from groups


def _portions(groups: Iterable[ColumnGroup], neighbours: int) -> Iterator[list[ColumnGroup]]:
    """Groups in lists that have about so many neighbours together."""
    portion: list[ColumnGroup] = []
    held = 0
    for group in groups:
        portion.append(group)
        held += group.size * group.rule.num_neighbours
        if held >= neighbours:
            yield portion
            portion, held = [], 0
    if portion:
        yield portion


def _neighbour_batches(groups: Iterable[ColumnGroup]) -> Iterator[pa.RecordBatch]:
    pending: list[tuple[np.ndarray, ...]] = []
    for group in groups:
        pending.append(group.neighbours())
        if sum(len(part[0]) for part in pending) >= _ROWS_PER_BATCH:
            yield _batch(pending)
            pending = []
    if pending:
        yield _batch(pending)


def _batch(parts: list[tuple[np.ndarray, ...]]) -> pa.RecordBatch:
    columns = (np.concatenate(values) for values in zip(*parts, strict=True))
    return pa.RecordBatch.from_arrays([pa.array(values) for values in columns], schema=_SCHEMA)
