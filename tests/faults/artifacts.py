"""What a run left, in a form in which two runs that did the same are equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openpyxl

from recsys_spark.manifest import SUFFIX

# Documents that also tell of the run itself: how long it took, and where its files lie.
TOLD_OF_A_RUN = ("seconds", "seconds_waiting", "rows_per_second", "path")


def contents(run: Path) -> dict[str, Any]:
    """Each artifact of a run by its label: the digest of its rows or bytes, or what stands in it but times."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob(f"*{SUFFIX}")):
        label = str(path.relative_to(run)).removesuffix(SUFFIX)
        if label.endswith(".json"):
            found[label] = _without_times(json.loads((run / label).read_text()))
        elif label.endswith(".xlsx"):
            found[label] = _cells(run / label)
        else:
            manifest = json.loads(path.read_text())
            found[label] = (manifest["rows"], manifest["content"])
    return found


def differing(reference: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """Labels of artifacts that only one has, or that differ."""
    return sorted(label for label in reference.keys() | run.keys() if reference.get(label) != run.get(label))


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(each) for key, each in value.items() if not key.endswith(TOLD_OF_A_RUN)}
    return [_without_times(each) for each in value] if isinstance(value, list) else value


def _cells(workbook: Path) -> list[list[tuple[Any, ...]]]:
    book = openpyxl.load_workbook(workbook, read_only=True)
    return [list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets]
