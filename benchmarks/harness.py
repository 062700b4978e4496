"""What every benchmark shares: paired repetitions, medians, and one JSON line per figure.

A benchmark calls `figure(...)` for each claim it measured and hands the list to `report`, which prints the lines
and keeps them in `docs/results/<name>.jsonl` for `make results`. Whether a goal holds does not change the exit code.
"""

from __future__ import annotations

import json
import operator
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from recsys_spark.manifest import library_versions

RESULTS = Path(__file__).parents[1] / "docs" / "results"
_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}


@dataclass(frozen=True)
class Figure:
    """One measured claim. `goal` is a comparison such as `<= 1.0`, `holds` whether the value meets it."""

    name: str
    value: float
    goal: str
    holds: bool
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The figure as one line."""
        return json.dumps(asdict(self), ensure_ascii=False)


def figure(name: str, value: float, goal: str, **detail: Any) -> Figure:
    """A figure held against its goal, with how, when and on what it was measured.

    >>> figure("sort.growth", 9.5, "<= 11").holds
    True
    """
    facts = {
        "command": command(),
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": library_versions(),
    }
    return Figure(name, float(f"{value:.5g}"), goal, meets(value, goal), {**detail, **facts})


def meets(value: float, goal: str) -> bool:
    """Whether a value meets a goal; raises ValueError for a goal that is no comparison.

    >>> meets(0.93, "<= 1.0"), meets(0.93, "> 1")
    (True, False)
    """
    sign, _, limit = goal.partition(" ")
    if sign not in _COMPARISONS:
        raise ValueError(f"goal '{goal}' must begin with one of {', '.join(_COMPARISONS)} and a space")
    return bool(_COMPARISONS[sign](value, float(limit)))


def paired_seconds(
    contenders: Mapping[str, Callable[[], object]], repetitions: int = 5, warm_up: int = 1
) -> dict[str, list[float]]:
    """Wall seconds of each contender, run in turn (A B A B), so that a slow minute of the machine hits them all.

    The first `warm_up` rounds are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repetition in range(warm_up + repetitions):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if repetition >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median of the ratios of paired repetitions.

    >>> median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0])
    2.0
    """
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Median seconds of each contender."""
    return {name: round(statistics.median(values), 4) for name, values in seconds.items()}


def command() -> str:
    """What prints the figures that this process measures."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    package, _, name = (spec.name if spec else "").rpartition(".")
    if package != "benchmarks":
        return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    given = shlex.join(sys.argv[1:])
    return f"make bench NAME={name}" + (f' ARGS="{given}"' if given else "")


def machine() -> dict[str, Any]:
    """Cores this process may use, memory in GiB, and the kind of processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cores": cores, "memory_gib": round(memory), "processor": platform.machine(), "system": platform.system()}


def report(name: str, figures: Sequence[Figure], results: Path = RESULTS) -> None:
    """Print each figure as a line, and let them replace what the benchmark `name` measured before."""
    lines = [found.to_json() for found in figures]
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    sys.stdout.writelines(line + "\n" for line in lines)
