"""A frame as an .xlsx for people, written row by row by one task."""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import xlsxwriter
from pyspark import TaskContext
from pyspark.sql import DataFrame

from recsys_spark.paths import filesystem, python_path
from recsys_spark.small_files import move

SHEET_ROWS = 1_000_000  # Excel ends at 1,048,576
_CELL_LETTERS = 32_767  # of a text that a cell of Excel may hold


@dataclass(frozen=True)
class SheetColumn:
    """A column of the sheet; width in characters."""

    name: str
    title: str
    width: int = 16


def write_workbook(
    frame: DataFrame,
    columns: Sequence[SheetColumn],
    order_by: Sequence[str],
    title: str,
    path: str,
    sheet_rows: int = SHEET_ROWS,
) -> None:
    """Write the columns in the given order of rows; a sheet that is full goes on in the next.

    One executor task writes the file, with constant memory, so its size does not touch the driver.
    """
    ordered = frame.select(*(column.name for column in columns)).repartition(1).sortWithinPartitions(*order_by)
    place = python_path(path)  # absolute: tasks have working directories of their own
    fs, plain = filesystem(place)
    token = uuid.uuid4().hex
    write = partial(_write, columns=tuple(columns), title=title, sheet_rows=sheet_rows)
    try:
        written = ordered.mapInArrow(partial(_attempt, write=write, aside=f"{place}.{token}"), "attempt bigint")
        if attempts := written.collect():
            move(fs, f"{plain}.{token}.{attempts[0]['attempt']}", plain)
        else:  # without rows there may be no task
            write((), path=place)
    finally:
        for other in fs.ls(str(PurePosixPath(plain).parent), detail=False):
            if PurePosixPath(other).name.startswith(f"{PurePosixPath(plain).name}.{token}."):
                fs.rm(other)  # of an attempt that failed or ran twice


def _attempt(batches: Iterable[pa.RecordBatch], write: Callable[..., None], aside: str) -> Iterator[pa.RecordBatch]:
    """Each attempt at the task has a file of its own: one that is given up must not write over what another wrote."""
    context = TaskContext.get()
    assert context is not None
    attempt = context.taskAttemptId()
    write(batches, path=f"{aside}.{attempt}")
    yield pa.RecordBatch.from_arrays([pa.array([attempt])], names=["attempt"])


def _write(
    batches: Iterable[pa.RecordBatch], columns: tuple[SheetColumn, ...], title: str, sheet_rows: int, path: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        local = str(Path(folder) / "sheet.xlsx")
        # A product text must neither run as a formula nor open an address, whichever way it is written.
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "tmpdir": folder}
        rows = 0
        with xlsxwriter.Workbook(local, options) as workbook:
            sheet = _new_sheet(workbook, columns, title)
            for batch in batches:
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    if rows and rows % sheet_rows == 0:
                        sheet = _new_sheet(workbook, columns, title)
                    for position, value in enumerate(row):
                        _write_cell(sheet, rows % sheet_rows + 1, position, value)
                    rows += 1
        fs, plain = filesystem(path)
        fs.put_file(local, plain)


def _write_cell(sheet: xlsxwriter.worksheet.Worksheet, row: int, column: int, value: Any) -> None:
    """Write a value as what it is: a text never as a number, formula or link, a number that Excel lacks as text."""
    if value is None:
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, (int, float)) and math.isfinite(value):
        sheet.write_number(row, column, value)
    else:
        text = str(value)
        # XlsxWriter leaves a longer text out; a cut one says that it was cut.
        sheet.write_string(row, column, text if len(text) <= _CELL_LETTERS else text[: _CELL_LETTERS - 1] + "…")


def _new_sheet(
    workbook: xlsxwriter.Workbook, columns: tuple[SheetColumn, ...], title: str
) -> xlsxwriter.worksheet.Worksheet:
    number = len(workbook.worksheets()) + 1
    sheet = workbook.add_worksheet(title if number == 1 else f"{title} {number}")
    bold = workbook.add_format({"bold": True})
    for position, column in enumerate(columns):
        sheet.set_column(position, position, column.width)
        sheet.write_string(0, position, column.title, bold)
    sheet.freeze_panes(1, 0)
    return sheet
