"""Pairs per second of the job `features`, Spark and Parquet included, against its arithmetic alone on arrays in memory.

Over all candidates of a finished run (`--config` as it ran). Both use two cores: the job as Spark tasks, the arithmetic
in two processes whose arrays are there before the clock starts. Growth: these against the candidates of a tenth of the
customers, at which the seconds that a Spark job takes whatever its size weigh more.
"""

from __future__ import annotations

import functools
import multiprocessing
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.finished_run import opened_run
from benchmarks.harness import figure, median_ratio, medians, paired_seconds, report
from jobs.features import STAGE
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.contracts.artifacts import CANDIDATES, FIT_OF_SPLIT
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.features.build import FeatureBuilder
from recsys_spark.features.fitted_builder import fitted_builder
from recsys_spark.features.shards import (
    candidates_in,
    events_before_queries,
    queries_with_events,
    shard_features,
)
from recsys_spark.part_files import parts_of
from recsys_spark.sequences.reading import read_histories
from recsys_spark.session import ROWS_PER_ARROW_BATCH, arrow_batches_of
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


@dataclass(frozen=True)
class Measured:
    """Seconds by contender, one for each repetition, over so many pairs."""

    pairs: int
    seconds: dict[str, list[float]]

    @property
    def ratio(self) -> float:
        return median_ratio(self.seconds["memory"], self.seconds["job"])


def candidates_of(io: StageIO, config: PipelineConfig) -> tuple[DataFrame, DataFrame, FeatureBuilder]:
    """All candidates of the run, all customers' histories, and the features of one fit."""
    every = functools.reduce(DataFrame.unionByName, (io.read(CANDIDATES, split=split) for split in FIT_OF_SPLIT))
    histories = read_histories(io, config.sequences.merge_minutes, with_quantities=True)
    quotas, towers = config.candidates.quotas, config.retriever.towers
    builder = fitted_builder(io, config.features, quotas, towers, config.queries.hist_max, FIT)
    return every, histories, builder


def main() -> None:
    """Report both figures."""
    io, repetitions = opened_run(__doc__, STAGE, repetitions=3)
    config = io.config
    every, histories, builder = candidates_of(io, config)
    frames = {
        "large": io.materialise("bench_large", every),
        "small": io.materialise("bench_small", every.filter(F.pmod(F.xxhash64("user_idx"), F.lit(10)) == 0)),
    }
    found = {}
    for size, candidates in frames.items():
        memory = InMemory(candidates, histories, builder)
        shard_rows = config.features.shard_rows // (10 if size == "small" else 1)
        job = functools.partial(build_shards, candidates, histories, builder, shard_rows)
        seconds = paired_seconds({"job": job, "memory": memory.compute}, repetitions)
        found[size] = Measured(memory.num_pairs, seconds)
    large, small = found["large"], found["small"]
    per_pair = {size: medians(one.seconds)["job"] / one.pairs for size, one in found.items()}
    told = {size: asdict(one) for size, one in found.items()}
    report(
        "features",
        [
            figure("features.job_over_memory", large.ratio, ">= 0.5", ratio_of_a_tenth=small.ratio, **told),
            figure("features.growth_tenfold", 10 * per_pair["large"] / per_pair["small"], "<= 11", **told),
        ],
    )
    io.storage.sweep(STAGE.name)


if __name__ == "__main__":
    main()
