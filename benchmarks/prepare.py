"""clean, entities and sequences on Complete Journey and on ten times its lines, against the same work in DuckDB.

Spark runs in one session with a 4 GiB heap on two cores; its start and ingest are left out. DuckDB has two threads.
Both read the same Parquet files of raw lines and write every table as Parquet; the tables must agree in their
numbers of rows and in sums. Beside wall seconds stand those of the processors, which a busy machine does not stretch.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

import jobs.clean
import jobs.entities
import jobs.sequences
from benchmarks import prepare_duckdb
from benchmarks.harness import Figure, figure, median_ratio, report
from benchmarks.prepare_worlds import write_lines
from recsys_spark.contracts.artifacts import RAW_LINES
from recsys_spark.contracts.config import PipelineConfig, SessionConfig
from recsys_spark.session import get_session
from recsys_spark.stage import Stage, run_stage
from recsys_spark.storage import Storage

CORES, HEAP, DUCKDB_MEMORY, LARGE = 2, "4g", "6GB", 10
STAGES = (jobs.clean.STAGE, jobs.entities.STAGE, jobs.sequences.STAGE)
CONF = {
    "spark.master": f"local[{CORES}]",
    "spark.driver.memory": HEAP,
    "spark.sql.shuffle.partitions": "8",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
_SEQUENCE_SUMS = ("sum(hist_len)", "sum(line_amount)", "count_if(is_repeat)", "sum(list_sum(history_days))")
_QUERY_SUMS = ("sum(hist_len)", "sum(num_positives)", "sum(list_sum(history_days))")
# What both must agree on, beside the number of rows; none depends on how ids are numbered.
SUMS: dict[str, tuple[str, ...]] = {
    "interactions_clean": (
        "sum(quantity)",
        "sum(line_amount)",
        "sum(price)",
        "sum(num_lines)",
        "count_if(was_winsorised)",
        "sum(length(description))",
    ),
    "rejected_lines": ("sum(length(rule))", "sum(source_row)", "count(DISTINCT rule)"),
    "item_id_map": ("sum(item_idx)",),
    "customer_id_map": ("sum(user_idx)",),
    "items_clean": ("sum(num_customers)", "sum(total_amount)", "sum(length(description))"),
    "customers_clean": ("sum(num_orders)", "sum(num_items)", "sum(total_quantity)"),
    **{f"sequences_{split}": _SEQUENCE_SUMS for split in ("train", "val", "test")},
    **{f"queries_{split}": _QUERY_SUMS for split in ("train", "val", "test")},
}


@dataclass(frozen=True)
class Seconds:
    """Of one run: wall, and processor time of this process and all it started."""

    wall: float
    cpu: float


def measured(run: Callable[[], object]) -> Seconds:
    """Run and measure."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    run()
    return Seconds(time.perf_counter() - wall, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Processor seconds of this process and its descendants so far; of this process alone where there is no /proc."""
    used: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        process = int(path.parent.name)
        used[process] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # those of ended children with it
        children.setdefault(int(fields[1]), []).append(process)
    if not used:
        return time.process_time()
    total, waiting = 0.0, [os.getpid()]
    while waiting:
        process = waiting.pop()
        total += used.get(process, 0.0)
        waiting += children.get(process, [])
    return total


class World:
    """Raw lines of one size, as an artifact of Spark's root and as files for DuckDB."""

    def __init__(self, folder: Path, copies: int) -> None:
        self.out = folder / f"duckdb-{copies}"
        self.root = folder / f"spark-{copies}"
        self.storage = Storage(str(self.root), get_session(SessionConfig(conf=CONF)))
        if self.storage.manifest(RAW_LINES.path_of()) is None:
            source = write_lines(folder / f"lines-{copies}", copies)
            run_stage(_ingest(source), PipelineConfig(), self.storage)

    def spark(self) -> None:
        """Every stage, whatever is up to date."""
        for stage in STAGES:
            run_stage(stage, PipelineConfig(), self.storage, force=True)

    def duckdb(self) -> None:
        """The same in SQL."""
        prepare_duckdb.prepare(f"{self.root}/raw_lines.parquet/*.parquet", self.out, CORES, DUCKDB_MEMORY)

    def require_equal_tables(self) -> dict[str, int]:
        """Rows of each table; raises AssertionError where the two disagree in rows or sums."""
        rows = {}
        with duckdb.connect() as database:
            for table, sums in SUMS.items():
                ours = _sums(database, f"{self.root}/{table}.parquet/*.parquet", sums)
                theirs = _sums(database, f"{self.out}/{table}.parquet", sums)
                if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(ours, theirs, strict=True)):
                    raise AssertionError(f"{table} differs, Spark and DuckDB: {('rows', *sums)} {ours} {theirs}")
                rows[table] = int(ours[0])
        return rows


def _ingest(source: str) -> Stage:
    """Stands in for the stage `ingest`, which is not measured."""
    return Stage(
        "ingest",
        reads=(),
        writes=(RAW_LINES,),
        sections=(),
        run=lambda io, _: {"lines": io.write(RAW_LINES, io.spark.read.parquet(source))},
    )


def _sums(database: duckdb.DuckDBPyConnection, files: str, sums: tuple[str, ...]) -> list[float]:
    row = database.execute(f"SELECT count(*), {', '.join(sums)} FROM read_parquet('{files}')").fetchone()
    assert row is not None
    return [float(value or 0) for value in row]


def compare(folder: Path, copies: int, repetitions: int) -> list[Figure]:
    """Both figures, from runs in turn: Spark on one time the lines, on `copies` times, and DuckDB on these."""
    small = World(folder, 1)
    large = small if copies == 1 else World(folder, copies)
    small.spark()  # warms Spark up
    runs: dict[str, list[Seconds]] = {"spark_1x": [], "spark": [], "duckdb": []}
    for _ in range(repetitions):
        runs["spark_1x"].append(measured(small.spark))
        runs["spark"].append(runs["spark_1x"][-1] if large is small else measured(large.spark))
        runs["duckdb"].append(measured(large.duckdb))
    detail: dict[str, Any] = {"times_the_lines": copies, "heap": HEAP, "repetitions": repetitions}
    for kind in ("wall", "cpu"):
        detail[f"{kind}_seconds"] = {name: round(_median(found, kind), 1) for name, found in runs.items()}
    detail["rows"] = large.require_equal_tables()
    versus = _ratios(runs["spark"], runs["duckdb"])
    figures = [figure("prepare.vs_duckdb", versus["wall"], "<= 2.5", cpu_ratio=versus["cpu"], **detail)]
    if copies > 1:
        growth = _ratios(runs["spark"], runs["spark_1x"])
        goal = f"<= {1.1 * copies:g}"
        figures.append(figure("prepare.growth", growth["wall"], goal, cpu_ratio=growth["cpu"], **detail))
    return figures


def _ratios(numerator: list[Seconds], denominator: list[Seconds]) -> dict[str, float]:
    return {
        kind: round(median_ratio([getattr(a, kind) for a in numerator], [getattr(b, kind) for b in denominator]), 4)
        for kind in ("wall", "cpu")
    }


def _median(found: list[Seconds], kind: str) -> float:
    return statistics.median(getattr(seconds, kind) for seconds in found)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=LARGE, help="how often the lines over; 1 or 4 for a quick look")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder that keeps the worlds for the next run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(given.keep or Path(folder), given.times, given.repetitions)
        get_session(SessionConfig()).stop()
    if given.times == LARGE:
        report("prepare", figures)
    else:
        print(*(found.to_json() for found in figures), sep="\n")


if __name__ == "__main__":
    main()
