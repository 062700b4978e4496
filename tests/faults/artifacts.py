"""What a run left, in a form in which two runs that did the same can be held against each other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import openpyxl

from recsys_spark.manifest import SUFFIX
from tests.support.report_page import ReportPage

# Documents that also tell of the run itself: how long it took, and how long for lack of data.
TOLD_OF_A_RUN = ("seconds", "seconds_waiting", "share_waiting", "per_second")
TOLD_SECTIONS = ("training", "run")  # of the report, likewise
# Some means are summed in the order in which tasks end, so their last digits differ between any two runs.
RELATIVE = 1e-9


def contents(run: Path) -> dict[str, Any]:
    """Each artifact of a run by its label: rows and digest of a table, digest of a file, what stands in a document."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob(f"*{SUFFIX}")):
        label = str(path.relative_to(run)).removesuffix(SUFFIX)
        if label.endswith(".json"):
            found[label] = json.loads((run / label).read_text().replace(str(run.resolve()), "."))
        elif label.endswith(".xlsx"):
            found[label] = _cells(run / label)
        elif label.endswith(".html"):
            sections = ReportPage((run / label).read_text(encoding="utf-8")).sections
            found[label] = {name: text for name, text in sections.items() if name not in TOLD_SECTIONS}
        else:
            manifest = json.loads(path.read_text())
            found[label] = [manifest["rows"], manifest["content"]]
    return found


def differing(reference: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """Labels of artifacts that only one has, or that differ."""
    return sorted(label for label in reference.keys() | run.keys() if not same(reference.get(label), run.get(label)))


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal but for times and the last digits of floats.

    >>> same({"a": [0.3], "seconds": 1}, {"a": [0.1 + 0.2], "seconds": 2}), same([0.3], [0.3001]), same(1, None)
    (True, False, False)
    """
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {key for key in one.keys() | other.keys() if not str(key).endswith(TOLD_OF_A_RUN)}
        return all(key in one and key in other and same(one[key], other[key]) for key in keys)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=1e-12)
    return bool(one == other)


def _cells(workbook: Path) -> list[list[Any]]:
    book = openpyxl.load_workbook(workbook, read_only=True)
    return [[list(row) for row in sheet.iter_rows(values_only=True)] for sheet in book.worksheets]
