"""What the stages of a command cost, and what ten times the lines would cost if cost grew in proportion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recsys_spark.plurals import as_size

TENFOLD = 10


def cost_sheet(stages: Mapping[str, Mapping[str, Any]], ran: Sequence[str], seconds_to_start: float) -> str:
    """The stages that ran, at least one, as text.

    stages: of run.json. Peak memory is resident memory of the driver's Python, its JVM and their Python workers.
    """
    sizes = f"{'rows in':>13} {'rows out':>13} {'written':>9} {'peak memory':>12} {'spilled':>9}"
    lines = [f"{'stage':<16} {'seconds':>9} {sizes}"]
    for name in ran:
        facts = stages[name]
        peak, spilled = facts.get("peak_memory", {}).get("total"), facts.get("spilled_bytes")
        cells = (f"{facts['rows_in']:>13,}", f"{facts['rows_out']:>13,}", f"{_size(facts['bytes_out']):>9}")
        lines.append(f"{name:<16} {facts['seconds']:>9,.1f} {' '.join(cells)} {_size(peak):>12} {_size(spilled):>9}")
    seconds, written = (sum(stages[name][key] for name in ran) for key in ("seconds", "bytes_out"))
    peaks = [stages[name].get("peak_memory", {}).get("total", 0) for name in ran]
    lines.append(f"{'together':<16} {seconds:>9,.1f} {'':>13} {'':>13} {_size(written):>9} {_size(max(peaks)):>12}")
    return "\n".join([*lines, projection(seconds, written, seconds_to_start)])


def projection(seconds: float, written: int, seconds_to_start: float) -> str:
    """Seconds and bytes of ten times the lines. Assumes that each stage takes time in proportion to the rows it reads.

    The assumption errs both ways: a stage's fixed part does not grow, and neighbours grow faster than lines.
    """
    minutes = (seconds_to_start + TENFOLD * seconds) / 60
    return (
        f"ten times the lines: about {minutes:,.0f} min and {_size(TENFOLD * written)}, if every stage takes time and "
        f"space in proportion to its input rows;\nstarting Spark ({seconds_to_start:.0f} s) counts once. "
        "This is an assumption, not a measurement (docs/scale.md)."
    )


def _size(number: int | None) -> str:
    return "unknown" if number is None else as_size(number)
