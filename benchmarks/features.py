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
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.candidates.chunks import PartReader, in_chunks, lay_out, num_parts
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.contracts import candidate_schemas
from recsys_spark.contracts.artifacts import CANDIDATES, FIT_OF_SPLIT
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.features.build import FeatureBuilder
from recsys_spark.features.fitted_builder import fitted_builder
from recsys_spark.features.shards import candidate_columns, candidates_in, shard_features, small_batches
from recsys_spark.part_files import map_batches, part_names, part_of, parts_of
from recsys_spark.paths import filesystem
from recsys_spark.sequences.reading import read_histories
from recsys_spark.session import ROWS_PER_ARROW_BATCH, arrow_batches_of
from recsys_spark.stage import StageIO

SEED = 1
CORES, FIT = 2, "val"


@dataclass(frozen=True)
class LaidOut:
    """Candidates in part files as the job `candidates` leaves them, and what else their features are made from."""

    queries: DataFrame
    folder: str
    parts: int
    histories: DataFrame
    builder: FeatureBuilder

    @property
    def asked(self) -> DataFrame:
        return in_chunks(self.histories, self.queries, self.parts, SEED)

    def build_shards(self) -> int:
        """What the job does for one part; returns the number of pairs."""
        with tempfile.TemporaryDirectory() as folder, arrow_batches_of(self.queries.sparkSession, ROWS_PER_ARROW_BATCH):
            parts = parts_of(shard_features(self.asked, self.builder, self.folder), folder)
            assert parts is not None
            return sum(row["rows"] for row in parts.collect())


class InMemory:
    """The same pairs as arrays, and the time their features take."""

    def __init__(self, told: LaidOut) -> None:
        self._builder = told.builder
        with tempfile.TemporaryDirectory() as folder:
            # A task's chunks lie in the file of its number, and that file's candidates in the one of the same number.
            told.asked.withColumn("part", F.spark_partition_id()).write.parquet(folder, mode="overwrite")
            held = (list(self._queries(file, told.folder)) for file in sorted(Path(folder).glob("*.parquet")))
            parts = [batches for batches in held if batches]
        self.num_pairs = sum(len(candidates.rows) for part in parts for _, candidates in part)
        self._parts = [[batch for part in parts[core::CORES] for batch in part] for core in range(CORES)]
        self._compute(parts[0][:1])  # what processes inherit: tables and PyTorch, as Spark's workers keep them

    def _queries(self, file: Path, folder: str) -> Iterator[tuple[QueryBatch, CandidateRows]]:
        reader = None
        for arrow in pq.ParquetFile(file).iter_batches(batch_size=ROWS_PER_ARROW_BATCH):
            if reader is None:
                name = part_of(part_names(folder), arrow.column("part")[0].as_py())
                reader = PartReader(folder, name, candidate_columns(self._builder.sources))
            for batch in small_batches(arrow):
                yield batch, candidates_in(reader.rows(batch.query_ids), self._builder.sources)

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


def laid_out(io: StageIO, config: PipelineConfig, share: int) -> LaidOut:
    """All candidates of one in so many customers, all customers' histories, and the features of one fit."""
    every = functools.reduce(DataFrame.unionByName, (io.read(CANDIDATES, split=split) for split in FIT_OF_SPLIT))
    chosen = every.filter(F.pmod(F.xxhash64("user_idx"), F.lit(share)) == 0)
    histories = read_histories(io, config.sequences.merge_minutes, with_quantities=True)
    quotas, towers = config.candidates.quotas, config.retriever.towers
    builder = fitted_builder(io, config.features, quotas, towers, config.queries.hist_max, FIT)
    parts = num_parts(chosen.count(), config.candidates)
    folder = io.scratch(f"one_of_{share}")
    filesystem(folder)[0].makedirs(folder)
    rows = lay_out(chosen, F.col("query_id"), parts, SEED)
    written = parts_of(map_batches(rows, lambda each: iter(each), candidate_schemas.CANDIDATES), folder)
    assert written is not None
    written.collect()
    asked = io.spark.read.parquet(folder).select("query_id", "user_idx", "customer_id", "event_time")
    return LaidOut(asked, folder, parts, histories, builder)


def main() -> None:
    """Report both figures."""
    io, repetitions = opened_run(__doc__, STAGE, repetitions=3)
    found = {}
    for size, share in {"large": 1, "small": 10}.items():
        told = laid_out(io, io.config, share)
        memory = InMemory(told)
        seconds = paired_seconds({"job": told.build_shards, "memory": memory.compute}, repetitions)
        found[size] = Measured(memory.num_pairs, seconds)
    large, small = found["large"], found["small"]
    per_pair = {size: medians(one.seconds)["job"] / one.pairs for size, one in found.items()}
    measured = {size: asdict(one) for size, one in found.items()}
    report(
        "features",
        [
            figure("features.job_over_memory", large.ratio, ">= 0.5", ratio_of_a_tenth=small.ratio, **measured),
            figure("features.growth_tenfold", 10 * per_pair["large"] / per_pair["small"], "<= 11", **measured),
        ],
    )
    io.storage.sweep(STAGE.name)


if __name__ == "__main__":
    main()
