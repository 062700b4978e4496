"""Pairs per second of the job `features`, Spark and Parquet included, against its arithmetic alone on arrays in memory.

Over the candidates of a finished run (`--config` as it ran). Both use two cores: the job as Spark tasks, the arithmetic
in two processes whose arrays are there before the clock starts. Growth: all candidates against those of a tenth of the
customers.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.harness import figure, median_ratio, medians, paired_seconds, report
from jobs.features import SOURCES, STAGE
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.command_line import common_arguments, config_from, open_storage
from recsys_spark.contracts.artifacts import CANDIDATES, FIT_OF_SPLIT
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.features.build import FeatureBuilder
from recsys_spark.features.fitted_builder import fitted_builder
from recsys_spark.features.shards import (
    ROWS_PER_ARROW_BATCH,
    candidates_in,
    events_before_queries,
    queries_with_events,
    shard_features,
)
from recsys_spark.part_files import parts_of
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.session import arrow_batches_of
from recsys_spark.stage import StageIO

CORES, FIT = 2, "val"


def build_shards(candidates: DataFrame, histories: DataFrame, builder: FeatureBuilder, shard_rows: int) -> int:
    """What the job does for one part; returns the number of pairs."""
    with tempfile.TemporaryDirectory() as folder, arrow_batches_of(candidates.sparkSession, ROWS_PER_ARROW_BATCH):
        parts = parts_of(shard_features(candidates, histories, builder, shard_rows, seed=1), folder)
        assert parts is not None
        return sum(row["rows"] for row in parts.collect())


class InMemory:
    """The same pairs as arrays, and the time their features take."""

    def __init__(self, candidates: DataFrame, histories: DataFrame, builder: FeatureBuilder) -> None:
        self._builder = builder
        with tempfile.TemporaryDirectory() as folder:
            laid_out = events_before_queries(candidates, histories, CORES, seed=1)
            laid_out.write.parquet(f"{folder}/rows")
            files = sorted(Path(folder, "rows").glob("*.parquet"))
            self._parts = [list(self._queries(file)) for file in files]
        self.num_pairs = sum(len(candidates.rows) for part in self._parts for _, candidates in part)
        self._compute(self._parts[0][:1])  # what processes inherit: tables and PyTorch, as Spark's workers keep them

    def _queries(self, file: Path) -> Iterator[tuple[object, CandidateRows]]:
        batches = pq.ParquetFile(file).iter_batches(batch_size=ROWS_PER_ARROW_BATCH)
        for batch, rows in queries_with_events(batches):
            yield batch, candidates_in(rows, self._builder.sources)

    def compute(self) -> None:
        """All features, each part in a process of its own that inherits arrays, tables and libraries."""
        fork = multiprocessing.get_context("fork")
        workers = [fork.Process(target=self._compute, args=(part,)) for part in self._parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0

    def _compute(self, part: list) -> None:
        import torch

        torch.set_num_threads(1)
        for batch, candidates in part:
            self._builder.columns(batch, candidates)


def candidates_of(io: StageIO, config: PipelineConfig) -> tuple[DataFrame, DataFrame, FeatureBuilder]:
    """All candidates of the run, all customers' histories, and the features of one fit."""
    every = functools.reduce(DataFrame.unionByName, (io.read(CANDIDATES, split=split) for split in FIT_OF_SPLIT))
    interactions, item_ids, customer_ids = (io.read(table) for table in SOURCES)
    minutes = config.sequences.merge_minutes
    histories = customer_histories(interactions, item_ids, customer_ids, minutes, with_quantities=True)
    quotas, towers = config.candidates.quotas, config.retriever.towers
    builder = fitted_builder(io, config.features, quotas, towers, config.queries.hist_max, FIT)
    return every, io.materialise("bench_histories", histories), builder


def main() -> None:
    """Report both figures."""
    parser = common_arguments(argparse.ArgumentParser(description=__doc__))
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    config = config_from(arguments)
    io = StageIO(STAGE, open_storage(config), config)
    every, histories, builder = candidates_of(io, config)
    large = io.materialise("bench_large", every)
    small = io.materialise("bench_small", every.filter(F.pmod(F.xxhash64("user_idx"), F.lit(10)) == 0))
    memory, shard_rows = InMemory(small, histories, builder), config.features.shard_rows
    contenders = {
        "job": lambda: build_shards(small, histories, builder, shard_rows // 10),
        "memory": memory.compute,
    }
    seconds = paired_seconds(contenders, arguments.repetitions)
    started = time.perf_counter()
    num_large = build_shards(large, histories, builder, shard_rows)
    large_seconds = time.perf_counter() - started
    small_seconds = medians(seconds)["job"]
    sizes = {"pairs": memory.num_pairs, "pairs_large": num_large}
    per_second = {name: round(memory.num_pairs / value) for name, value in medians(seconds).items()}
    growth = large_seconds / small_seconds * (10 * memory.num_pairs / num_large)
    report(
        "features",
        [
            figure(
                "features.job_over_memory",
                median_ratio(seconds["memory"], seconds["job"]),
                ">= 0.5",
                seconds=seconds,
                pairs_per_second=per_second,
                **sizes,
            ),
            figure(
                "features.growth_tenfold",
                growth,
                "<= 11",
                seconds_large=round(large_seconds, 1),
                seconds_small=small_seconds,
                **sizes,
            ),
        ],
    )
    io.storage.sweep(STAGE.name)


if __name__ == "__main__":
    main()
