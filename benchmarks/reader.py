"""Rows per second of the trainers' reader, by either engine, as a share of a bare pyarrow scan of the same columns.

The reader shuffles 50-long histories into batches of 8,192; the scan decodes the same columns on all cores and drops
them. `make_batch_reader` alone, with Petastorm's own step to NumPy and without shuffling, stands beside them. Files are
in the page cache.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.harness import Figure, figure, median_ratio, medians, paired_seconds, report
from training.reader import ParquetReader, ReaderOptions
from training.row_groups import MANIFEST_SUFFIX

ROWS, FILES, ROW_GROUP = 400_000, 8, 25_000
WIDTH, BATCH_SIZE, SEED = 50, 8192, 1
CUSTOMERS, ITEMS = 200_000, 50_000
COLUMNS = ("user_idx", "history", "history_days", "pos_item_idx", "event_time", "is_repeat")
START, YEAR_S = 1_600_000_000, 365 * 86_400


def examples(rng: np.random.Generator, rows: int) -> pa.Table:
    """Training examples of customers with 1 to 50 known items, left-padded with 0; popularity falls with the rank."""
    is_known = np.arange(WIDTH) >= WIDTH - rng.integers(1, WIDTH + 1, (rows, 1))
    items = np.minimum(np.exp(rng.random((rows, WIDTH)) * np.log(ITEMS)), ITEMS - 1).astype(np.int64) + 1
    days = np.sort(rng.random((rows, WIDTH), dtype=np.float32) * 365)[:, ::-1]
    offsets = np.arange(rows + 1, dtype=np.int32) * WIDTH
    times = (START + rng.integers(0, YEAR_S, rows)) * 1_000_000
    return pa.table(
        {
            "user_idx": rng.integers(1, CUSTOMERS, rows),
            "history": pa.ListArray.from_arrays(offsets, (items * is_known).ravel()),
            "history_days": pa.ListArray.from_arrays(offsets, (days * is_known).ravel()),
            "pos_item_idx": rng.integers(1, ITEMS, rows),
            "event_time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "is_repeat": rng.random(rows) < 0.3,
        }
    )


def write_table(folder: Path, rows: int) -> Path:
    """A published table as Spark leaves one: a file per task, Snappy, dictionaries where they are small."""
    path, rng = folder / "examples.parquet", np.random.default_rng(SEED)
    path.mkdir()
    for number in range(FILES):
        part = path / f"part-{number:05d}.snappy.parquet"
        pq.write_table(examples(rng, rows // FILES), part, row_group_size=ROW_GROUP, compression="snappy")
    path.with_name(path.name + MANIFEST_SUFFIX).write_text("{}")
    return path


def scan(path: Path) -> int:
    """Rows of a bare scan."""
    return sum(batch.num_rows for batch in ds.dataset(path).to_batches(columns=list(COLUMNS)))


def read(path: Path, engine: str) -> int:
    """Rows of one shuffled epoch."""
    options = ReaderOptions(engine=engine, batch_size=BATCH_SIZE, columns=COLUMNS, seed=SEED, shuffle=True)
    return sum(len(batch["history"]) for batch in ParquetReader(str(path), options).epoch(0))


def read_by_petastorm_alone(path: Path) -> int:
    """Rows of its batch reader, whose own threads make the arrays, in the order of files."""
    from petastorm import make_batch_reader

    urls = [f"file://{file}" for file in sorted(path.glob("*.parquet"))]
    fields = [f"^{name}$" for name in COLUMNS]
    reader = make_batch_reader(
        urls, schema_fields=fields, workers_count=2, shuffle_row_groups=False, convert_early_to_numpy=True
    )
    try:
        return sum(len(batch.user_idx) for batch in reader)
    finally:
        reader.stop()
        reader.join()


def compare(path: Path, rows: int, repetitions: int) -> list[Figure]:
    """A figure for each engine. An epoch leaves out less than a batch, which the ratio allows for."""
    counts: dict[str, int] = {}

    def counted(name: str, run: Callable[[], int]) -> Callable[[], object]:
        return lambda: counts.update({name: run()})

    seconds = paired_seconds(
        {
            "scan": counted("scan", lambda: scan(path)),
            "arrow": counted("arrow", lambda: read(path, "arrow")),
            "petastorm": counted("petastorm", lambda: read(path, "petastorm")),
            "petastorm_alone": counted("petastorm_alone", lambda: read_by_petastorm_alone(path)),
        },
        repetitions,
    )
    if counts["scan"] != rows or counts["arrow"] != counts["petastorm"] or rows - counts["arrow"] >= BATCH_SIZE:
        raise AssertionError(f"of {rows} rows the contenders read {counts}")
    detail: dict[str, Any] = {
        "rows": rows,
        "files": FILES,
        "row_group": ROW_GROUP,
        "batch_size": BATCH_SIZE,
        "length": WIDTH,
    }
    detail |= {"seconds": medians(seconds), "repetitions": repetitions}
    detail["rows_per_second"] = {name: round(counts[name] / taken) for name, taken in medians(seconds).items()}
    alone = round(median_ratio(seconds["scan"], seconds["petastorm_alone"]), 3)
    shares = {
        name: median_ratio(seconds["scan"], seconds[name]) * counts[name] / rows for name in ("arrow", "petastorm")
    }
    return [
        figure("reader.arrow", shares["arrow"], ">= 0.6", **detail),
        figure("reader.petastorm", shares["petastorm"], ">= 0.4", share_of_petastorm_alone=alone, **detail),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repetitions", type=int, default=9)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.|pyarrow\.parquet")
    with tempfile.TemporaryDirectory() as folder:
        rows = given.rows // FILES * FILES
        report("reader", compare(write_table(Path(folder), rows), rows, given.repetitions))


if __name__ == "__main__":
    main()
