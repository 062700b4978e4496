"""The nearest columns of every column of a sparse matrix, for ItemKNN and, on the transposed matrix, UserKNN.

The matrix goes to scratch files in blocks of columns that a task can hold; tasks then take some columns each and
multiply them with one block after another. No pair of columns is ever a row of a frame unless both are neighbours.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.baselines.column_similarity import ColumnGroup, SimilarityRule, column_groups
from recsys_spark.baselines.cost import ProductCost, cost_of_counts, estimate_cost, require_affordable
from recsys_spark.baselines.sparse_blocks import MAX_INDEX, BlockSummary, load_block, pack_block
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.paths import filesystem, spark_uri

NEIGHBOURS_DDL = "col bigint, neighbour bigint, score float, rank int"  # one row per column and rank from 1
_NEIGHBOURS_SCHEMA = pa.schema(
    [("col", pa.int64()), ("neighbour", pa.int64()), ("score", pa.float32()), ("rank", pa.int32())]
)
_BLOCKS, _FOUND = "blocks", "neighbours.parquet"
_PACKED_DDL = "summary string, cost string"
_BYTES_PER_NONZERO = 64  # at the height of packing: the entries as they came, by column, and longest column first
_WORK_PER_TASK = 6e7  # multiply-adds: half a second or so
_TASKS_PER_CORE = 32  # at most, so that large products do not drown in tasks
_ROWS_PER_BATCH = 200_000

log = logging.getLogger("recsys")


@dataclass(frozen=True, kw_only=True)
class NeighbourOptions:
    """num_neighbours: kept per column. shrinkage: added to the product of lengths. min_support: rows two columns share.

    task_memory_mb: what one Python task may hold. max_cost: multiply-adds above which the computation is refused.
    """

    num_neighbours: int = 100
    shrinkage: float = 0.0
    min_support: int = 1
    task_memory_mb: int = 1024
    max_cost: float = 1e12

    def __post_init__(self) -> None:
        for key in ("num_neighbours", "min_support", "task_memory_mb"):
            if getattr(self, key) < 1:
                raise ConfigError(f"knn.{key} must be at least 1, got {getattr(self, key)}")
        if self.shrinkage < 0:
            raise ConfigError(f"knn.shrinkage must be 0 or more, got {self.shrinkage}")

    @property
    def block_nonzeros(self) -> int:
        """Entries of a block that one task can pack."""
        return self.task_memory_mb * 2**20 // _BYTES_PER_NONZERO


@dataclass(frozen=True)
class _Plan:
    """What every multiplying task needs to know. Blocks without a column are left out."""

    folder: str
    blocks: tuple[int, ...]
    num_rows: int
    tasks_per_block: int
    rule: SimilarityRule


def find_neighbours(triples: DataFrame, options: NeighbourOptions, folder: str) -> DataFrame:
    """Find the `num_neighbours` most similar columns of each column: NEIGHBOURS_DDL, read from Parquet below `folder`.

    triples: row bigint, col bigint (indices dense from 1), weight double above 0; one row per pair. It is read once,
    or twice where it takes several blocks, so an expensive one should be materialised.
    folder: empty, and reached by all executors: a local path or a URI. The tasks write `neighbours.parquet` there
    themselves, as Arrow does so at a tenth of the processor time of the way through the JVM; the caller removes it.

    Similarity is dot / (|a| |b| + shrinkage), rounded to 1e-6; a column is not its own neighbour, a similarity of 0
    is none, ties go to the smaller index. The same triples give the same rows, however they are partitioned.
    Raises ConfigError above max_cost, DataError for weights or indices that cannot be used.
    """
    spark = triples.sparkSession
    entries = triples.select(F.col("row").cast("bigint"), F.col("col").cast("bigint"), F.col("weight").cast("double"))
    fs, base = filesystem(folder)
    fs.makedirs(f"{base}/{_FOUND}", exist_ok=True)
    summaries, cost = _pack(entries, options, f"{folder}/{_BLOCKS}")
    log.info("neighbours: %d entries, %.3g multiply-adds", cost.nonzeros, cost.multiply_adds)
    filled = [summary for summary in summaries if summary.columns]
    if filled:
        plan = _plan(filled, options, folder, _num_tasks(spark, cost.multiply_adds))
        num_tasks = plan.tasks_per_block * len(plan.blocks)
        written = spark.range(num_tasks, numPartitions=num_tasks).mapInArrow(_multiplier(plan), "rows bigint").collect()
        log.info("neighbours: %d pairs kept", sum(row.rows for row in written))
    if fs.exists(f"{base}/{_BLOCKS}"):
        fs.rm(f"{base}/{_BLOCKS}", recursive=True)
    return spark.read.schema(NEIGHBOURS_DDL).parquet(spark_uri(f"{folder}/{_FOUND}"))


def _plan(filled: list[BlockSummary], options: NeighbourOptions, folder: str, num_tasks: int) -> _Plan:
    whole = max(summary.max_weight for summary in filled) if all(summary.integral for summary in filled) else None
    dense_bytes = options.task_memory_mb * 2**20 // 4
    return _Plan(
        folder=folder,
        blocks=tuple(sorted(summary.block for summary in filled)),
        num_rows=max(summary.max_row for summary in filled) + 1,
        tasks_per_block=math.ceil(num_tasks / len(filled)),
        rule=SimilarityRule(options.num_neighbours, options.shrinkage, options.min_support, whole, dense_bytes),
    )


def _num_tasks(spark: SparkSession, multiply_adds: float) -> int:
    # As many partitions as Spark gives a range by itself: the cores, seen through the DataFrame API.
    last = spark.range(1 << 16).select(F.spark_partition_id().alias("part")).agg(F.max("part").alias("last")).first()
    cores = 1 + (last["last"] if last else 0)
    return min(max(math.ceil(multiply_adds / _WORK_PER_TASK), cores), cores * _TASKS_PER_CORE)


def _pack(entries: DataFrame, options: NeighbourOptions, scratch: str) -> tuple[list[BlockSummary], ProductCost]:
    """Write the blocks. What fits one task is packed at once and counted there; the rest is counted first."""
    packer = _single_packer(scratch, options.block_nonzeros)
    single = _collect_packed(entries.coalesce(1).mapInArrow(packer, _PACKED_DDL))
    if single:
        [(summary, counted)] = single
        assert counted is not None
        require_affordable(counted, options.max_cost)
        return [summary], counted
    cost = estimate_cost(entries)
    require_affordable(cost, options.max_cost)
    num_blocks = math.ceil(cost.nonzeros / options.block_nonzeros)
    block = F.pmod("col", F.lit(num_blocks)).cast("int")  # in turn, which spreads popular columns evenly
    by_block = entries.withColumn("block", block)
    packed = by_block.groupBy("block").applyInPandas(_block_packer(scratch), _PACKED_DDL)
    return [summary for summary, _ in _collect_packed(packed)], cost


def _collect_packed(packed: DataFrame) -> list[tuple[BlockSummary, ProductCost | None]]:
    rows = packed.collect()
    return [
        (BlockSummary(**json.loads(row.summary)), ProductCost(**json.loads(row.cost)) if row.cost else None)
        for row in rows
    ]


def _single_packer(folder: str, limit: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pack all entries into block 0; yields nothing where they are more than the limit."""
        types = (np.int32, np.int32, np.float64)
        parts: list[list[np.ndarray]] = [[np.empty(0, dtype)] for dtype in types]
        nonzeros = 0
        for batch in batches:
            nonzeros += batch.num_rows
            if nonzeros > limit:
                return
            for part, column, dtype in zip(parts, batch.columns, types, strict=True):
                part.append(_narrowed(column.to_numpy(zero_copy_only=False), dtype))
        rows, cols, weights = (np.concatenate(parts.pop(0)) for _ in types)
        summary = pack_block(rows, cols, weights, folder, 0, alone=True)
        texts = [json.dumps(asdict(summary))], [json.dumps(asdict(cost_of_counts(np.bincount(rows))))]
        yield pa.RecordBatch.from_arrays([pa.array(text) for text in texts], names=["summary", "cost"])

    return pack


def _narrowed(values: np.ndarray, dtype: type) -> np.ndarray:
    """The values in a type of fewer bytes, or as they are where one does not fit, for `pack_block` to refuse."""
    fits = dtype is np.float64 or len(values) == 0 or -1 <= values.min() <= values.max() <= MAX_INDEX
    return values.astype(dtype) if fits else values


def _block_packer(folder: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def pack(entries: pd.DataFrame) -> pd.DataFrame:
        rows, cols, weights = (entries[name].to_numpy() for name in ("row", "col", "weight"))
        summary = pack_block(rows, cols, weights, folder, int(entries["block"].iloc[0]))
        return pd.DataFrame({"summary": [json.dumps(asdict(summary))], "cost": [None]})

    return pack


def _multiplier(plan: _Plan) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def multiply(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [_write_neighbours(plan, task) for task in batch.column(0).to_pylist()]
            yield pa.RecordBatch.from_arrays([pa.array(rows, pa.int64())], names=["rows"])

    return multiply


def _write_neighbours(plan: _Plan, task: int) -> int:
    """Write what a task finds to a file that appears whole or not at all; returns its rows."""
    context = TaskContext.get()
    assert context is not None
    fs, base = filesystem(plan.folder)
    aside = f"{base}/{_FOUND}/_part_{task:05d}_{context.taskAttemptId()}"
    rows = 0
    with fs.open(aside, "wb") as file, pq.ParquetWriter(file, _NEIGHBOURS_SCHEMA, compression="zstd") as writer:
        for batch in _neighbour_batches(_groups_of_task(plan, task)):
            writer.write_batch(batch)
            rows += batch.num_rows
    fs.mv(aside, f"{base}/{_FOUND}/part_{task:05d}.parquet")
    return rows


def _groups_of_task(plan: _Plan, task: int) -> list[ColumnGroup]:
    """Every n-th group of one block, after it has seen every block; so each task has long and short columns."""
    place, share = divmod(task, plan.tasks_per_block)
    blocks = f"{plan.folder}/{_BLOCKS}"
    own = load_block(blocks, plan.blocks[place], plan.num_rows)
    groups = list(column_groups(own, plan.rule))[share :: plan.tasks_per_block]
    for other in plan.blocks[place:] + plan.blocks[:place]:  # tasks begin with the block that they have at hand
        block = load_block(blocks, other, plan.num_rows)
        for group in groups:
            group.visit(block)
    return groups


def _neighbour_batches(groups: list[ColumnGroup]) -> Iterator[pa.RecordBatch]:
    pending: list[tuple[np.ndarray, ...]] = []
    for group in groups:
        pending.append(group.neighbours())
        if sum(len(part[0]) for part in pending) >= _ROWS_PER_BATCH or group is groups[-1]:
            columns = (np.concatenate(parts) for parts in zip(*pending, strict=True))
            yield pa.RecordBatch.from_arrays([pa.array(values) for values in columns], schema=_NEIGHBOURS_SCHEMA)
            pending = []
