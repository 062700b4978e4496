"""The nearest columns of every column of a sparse matrix, for ItemKNN and, on the transposed matrix, UserKNN.

The matrix goes to scratch files in blocks of columns that a task can hold; tasks then take some columns each and
multiply them with one block after another. No pair of columns is ever a row of a frame unless both are neighbours.
"""

from __future__ import annotations

import heapq
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.baselines.column_similarity import SimilarityRule
from recsys_spark.baselines.cost import ProductCost, cost_of_counts, estimate_cost, require_affordable
from recsys_spark.baselines.neighbour_tasks import FOUND, NUM_PLACES, MultiplyPlan, multiplier
from recsys_spark.baselines.sparse_blocks import MAX_INDEX, BlockSummary, pack_block
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.paths import filesystem, spark_glob

NEIGHBOURS_DDL = "col bigint, neighbour bigint, score float, rank int"  # one row per column and rank from 1
_PACKED_DDL = "summary string, cost string"
_BYTES_PER_NONZERO = 64  # at the height of packing: the entries as they came, by column, and longest column first
# While products of two blocks are made: as mapped 12, by row 12, and for min_support 20 more, of ones. Two blocks take
# half of a task's memory; the neighbours that are not written yet and the dense kernel take a quarter each.
_BYTES_MULTIPLIED = 44
_BUCKETS = 4096  # of columns, which blocks are made of
_LARGE_PRODUCT = 2e9  # multiply-adds, ten seconds or so: below, a task per core, as starting one takes 50 ms
_WORK_PER_TASK = 2.5e8

log = logging.getLogger("recsys")


@dataclass(frozen=True, kw_only=True)
class NeighbourOptions:
    """num_neighbours: kept per column. shrinkage: added to the product of lengths. min_support: rows two columns share.

    task_memory_mb: what one Python task may hold. max_cost: multiply-adds above which the computation is refused, with
    the advice of `remedy`; without one, to cap the rows.
    """

    num_neighbours: int = 100
    shrinkage: float = 0.0
    min_support: int = 1
    task_memory_mb: int = 1024
    max_cost: float = 1e12
    remedy: str = ""

    def __post_init__(self) -> None:
        for key in ("num_neighbours", "min_support", "task_memory_mb"):
            if getattr(self, key) < 1:
                raise ConfigError(f"knn.{key} must be at least 1, got {getattr(self, key)}")
        if self.shrinkage < 0:
            raise ConfigError(f"knn.shrinkage must be 0 or more, got {self.shrinkage}")

    @property
    def block_nonzeros(self) -> int:
        """Entries of a matrix that one task can pack, as the only block."""
        return self.task_memory_mb * 2**20 // _BYTES_PER_NONZERO

    @property
    def paired_nonzeros(self) -> int:
        """Entries of a block of which a task holds two at a time."""
        return max(self.task_memory_mb * 2**20 // (4 * _BYTES_MULTIPLIED), 1)


def find_neighbours(triples: DataFrame, options: NeighbourOptions, folder: str) -> DataFrame:
    """Find the `num_neighbours` most similar columns of each column: NEIGHBOURS_DDL, read from Parquet below `folder`.

    triples: row bigint, col bigint (indices from 1, gaps cost memory), weight double above 0; one row per pair. It is
    read once, and thrice more where it takes several blocks, so an expensive one should be materialised.
    folder: empty, and reached by all executors: a local path or a URI. The tasks write `neighbours.parquet` there
    themselves, as Arrow does so at a tenth of the processor time of the way through the JVM; the caller removes it.

    Similarity is dot / (|a| |b| + shrinkage), rounded to 1e-6; a column is not its own neighbour, a similarity of 0
    is none, ties go to the smaller index. The same triples give the same rows, however they are partitioned.
    Raises ConfigError above max_cost, DataError for weights or indices that cannot be used.
    """
    spark = triples.sparkSession
    entries = triples.select(F.col("row").cast("bigint"), F.col("col").cast("bigint"), F.col("weight").cast("double"))
    fs, base = filesystem(folder)
    fs.makedirs(f"{base}/{FOUND}", exist_ok=True)
    blocks = f"{folder}/blocks-{uuid4().hex}"  # Python workers outlive a job and keep blocks by their path
    summaries, cost = _pack(entries, options, blocks)
    log.info("neighbours: %d entries, %.3g multiply-adds", cost.nonzeros, cost.multiply_adds)
    filled = [summary for summary in summaries if summary.columns]
    if filled:
        multiply = multiplier(plan_of(filled, options, folder, blocks))
        written = _places(spark, cost.multiply_adds).mapInArrow(multiply, "rows bigint").collect()
        log.info("neighbours: %d pairs kept", sum(row.rows for row in written))
    packed = filesystem(blocks)[1]
    if fs.exists(packed):
        fs.rm(packed, recursive=True)
    return spark.read.schema(NEIGHBOURS_DDL).parquet(spark_glob(f"{folder}/{FOUND}"))


def plan_of(filled: list[BlockSummary], options: NeighbourOptions, folder: str, packed: str) -> MultiplyPlan:
    """How tasks multiply the blocks that have columns. packed: the folder of the blocks; below `folder` go results."""
    whole = max(summary.max_weight for summary in filled) if all(summary.integral for summary in filled) else None
    quarter = options.task_memory_mb * 2**20 // 4
    return MultiplyPlan(
        folder=folder,
        packed=packed,
        blocks=tuple(sorted(summary.block for summary in filled)),
        num_rows=max(summary.max_row for summary in filled) + 1,
        held_bytes=quarter,
        rule=SimilarityRule(options.num_neighbours, options.shrinkage, options.min_support, whole, quarter),
    )


def _places(spark: SparkSession, multiply_adds: float) -> DataFrame:
    """The numbers below NUM_PLACES, in as many partitions as there shall be tasks."""
    if multiply_adds < _LARGE_PRODUCT:
        return spark.range(NUM_PLACES)  # Spark cuts it in as many parts as it has cores
    return spark.range(NUM_PLACES, numPartitions=min(math.ceil(multiply_adds / _WORK_PER_TASK), NUM_PLACES))


def _pack(entries: DataFrame, options: NeighbourOptions, scratch: str) -> tuple[list[BlockSummary], ProductCost]:
    """Write the blocks. What fits one task is packed by it and its cost counted there; the cost of more comes first.

    Whether it fits is seen by trying: counting first would take a job more, a tenth of a second.
    """
    pack = _single_packer(scratch, options.block_nonzeros)
    if alone := _collect_packed(entries.coalesce(1).mapInArrow(pack, _PACKED_DDL)):
        [(summary, counted)] = alone
        assert counted is not None
        require_affordable(counted, options.max_cost, options.remedy)
        return [summary], counted
    cost = estimate_cost(entries)
    require_affordable(cost, options.max_cost, options.remedy)
    bucket = F.pmod("col", F.lit(_BUCKETS)).cast("int").alias("bucket")
    sizes = {row["bucket"]: row["count"] for row in entries.groupBy(bucket).count().collect()}
    blocks = blocks_of(sizes, options.paired_nonzeros)
    log.info("neighbours: %d blocks", max(blocks.values()) + 1)
    block_of = F.broadcast(entries.sparkSession.createDataFrame(list(blocks.items()), "bucket int, block int"))
    by_block = entries.withColumn("bucket", bucket).join(block_of, on="bucket", how="inner").drop("bucket")
    packed = by_block.groupBy("block").applyInPandas(_block_packer(scratch), _PACKED_DDL)
    return [summary for summary, _ in _collect_packed(packed)], cost


def blocks_of(sizes: Mapping[int, int], limit: int) -> dict[int, int]:
    """Bucket -> block, none of more than `limit` entries unless a bucket alone is larger: largest to emptiest.

    >>> blocks_of({0: 9, 1: 2, 2: 4, 3: 5}, limit=11)
    {0: 0, 3: 1, 2: 1, 1: 0}
    """
    largest_first = sorted(sizes, key=lambda bucket: (-sizes[bucket], bucket))
    highest = max(limit, max(sizes.values()))
    num_blocks = math.ceil(sum(sizes.values()) / limit)
    while True:
        held = [(0, block) for block in range(num_blocks)]
        blocks = {}
        for bucket in largest_first:
            entries, block = heapq.heappop(held)
            blocks[bucket] = block
            heapq.heappush(held, (entries + sizes[bucket], block))
        if max(held)[0] <= highest:
            return blocks
        num_blocks += max(num_blocks // 10, 1)


def _collect_packed(packed: DataFrame) -> list[tuple[BlockSummary, ProductCost | None]]:
    rows = packed.collect()
    return [
        (BlockSummary(**json.loads(row.summary)), ProductCost(**json.loads(row.cost)) if row.cost else None)
        for row in rows
    ]


def _single_packer(folder: str, limit: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pack all entries into block 0; yields nothing where they are more than `limit`."""
        types = (np.int32, np.int32, np.float64)
        parts: list[list[np.ndarray]] = [[np.empty(0, dtype)] for dtype in types]
        entries = 0
        for batch in batches:
            entries += batch.num_rows
            if entries > limit:
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
