"""Ingest of one workbook of 500,000 lines within 2 GiB, and of the same lines as twelve monthly workbooks in parallel.

Each ingest is a process of its own, as a user runs it. Memory is that of all its processes together (JVM, Python
workers, driver), shared pages counted once, at its largest. Parallel: the stage's seconds on one core over two.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import xlsxwriter

from benchmarks.harness import figure, median_ratio, report
from recsys_spark.command_line import storage_of

LINES, MONTHS, HEAP_MB, LIMIT_GIB = 500_000, 12, 768, 2.0
HEADERS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "LineAmount", "CustomerID", "Country")
_EVERY_SECONDS = 0.05
_YEAR = datetime(2010, 1, 1)


def make_lines(number: int, seed: int = 1) -> list[tuple[object, ...]]:
    """Lines of a year in order of time, with cells of the kinds that exports have."""
    rng = np.random.default_rng(seed)
    minutes = np.sort(rng.integers(0, 365 * 24 * 60, number)).tolist()
    items, customers = (rng.integers(0, size, number).tolist() for size in (4_000, 3_000))
    units, cents = rng.integers(1, 49, number).tolist(), rng.integers(5, 5_000, number).tolist()
    lines: list[tuple[object, ...]] = []
    for place, (minute, item, customer, unit, cent) in enumerate(
        zip(minutes, items, customers, units, cents, strict=True)
    ):
        code = f"{10_000 + item}A" if item % 10 == 0 else 10_000 + item
        words = f"قلم حبر رقم {item}" if item % 5 == 0 else f"BALLPOINT PEN NO. {item} "
        time_ = _YEAR + timedelta(minutes=minute)
        lines.append((500_000 + place // 20, code, words, unit, time_, unit * cent / 100, 12_000 + customer, "Oman"))
    return lines


def write_workbook(path: Path, lines: Iterable[Sequence[object]]) -> None:
    """One sheet, written row by row."""
    options = {"constant_memory": True, "default_date_format": "yyyy-mm-dd hh:mm", "remove_timezone": True}
    with xlsxwriter.Workbook(str(path), options) as book:
        sheet = book.add_worksheet("Orders")
        sheet.write_row(0, 0, HEADERS)
        for row, line in enumerate(lines, start=1):
            sheet.write_row(row, 0, line)


def by_month(lines: Sequence[Sequence[object]]) -> Iterator[list[Sequence[object]]]:
    """The lines of each month."""
    for month in range(1, MONTHS + 1):
        yield [line for line in lines if isinstance(line[4], datetime) and line[4].month == month]


def ingest(sources: Path, root: Path, cores: int) -> tuple[float, float]:
    """Seconds of the stage, and the peak of memory in GiB."""
    conf = f'{{spark.master: "local[{cores}]", spark.driver.memory: {HEAP_MB}m, spark.ui.enabled: "false"}}'
    pairs = (f"paths.processed={root}", f"ingest.sources=[{sources}]", "ingest.sheets=[all]", f"session.conf={conf}")
    words = [word for pair in pairs for word in ("--set", pair)]
    child = subprocess.Popen(
        [sys.executable, "-m", "jobs.ingest", "--force", *words], stderr=subprocess.PIPE, text=True
    )
    peak = 0.0
    while child.poll() is None:
        peak = max(peak, sum(_proportional_kib(process) for process in _tree(child.pid)) / 2**20)
        time.sleep(_EVERY_SECONDS)
    if child.returncode:
        raise RuntimeError(f"ingest ended with exit {child.returncode}: {child.stderr.read() if child.stderr else ''}")
    record = storage_of(str(root)).stage_record("ingest")
    assert record is not None
    return record["seconds"], peak


def _tree(process: int) -> list[int]:
    """A process and all below it."""
    found, waiting = [], [process]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in children.read_text(encoding="ascii").split()]
            except OSError:  # it has just ended
                continue
    return found


def _proportional_kib(process: int) -> int:
    """A process's memory, a page that n processes share counted as 1/n."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name), make_lines(given.lines)
        whole, months = folder / "year.xlsx", folder / "months"
        months.mkdir()
        write_workbook(whole, lines)
        for month, own in enumerate(by_month(lines), start=1):
            write_workbook(months / f"2010-{month:02}.xlsx", own)
        seconds, peak = ingest(whole, folder / "run_year", cores=2)
        pairs = [
            [ingest(months, folder / f"run_{cores}", cores)[0] for cores in (1, 2)] for _ in range(given.repetitions)
        ]
    facts = {"lines": given.lines, "heap_mb": HEAP_MB}
    one, two = ([pair[place] for pair in pairs] for place in (0, 1))
    report(
        "workbooks",
        [
            figure("workbooks.peak_gib", peak, f"<= {LIMIT_GIB}", seconds=seconds, **facts),
            figure("workbooks.parallel", median_ratio(one, two), ">= 1.5", one_core=one, two_cores=two, **facts),
        ],
    )


if __name__ == "__main__":
    main()
