"""A frame as an .xlsx for people, written row by row by one task."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import xlsxwriter
from pyspark.sql import DataFrame

from recsys_spark.paths import filesystem

SHEET_ROWS = 1_000_000  # Excel ends at 1,048,576


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
    writer = partial(_write, columns=tuple(columns), title=title, path=path, sheet_rows=sheet_rows)
    ordered.mapInArrow(writer, "rows bigint").collect()


def _write(
    batches: Iterable[pa.RecordBatch], columns: tuple[SheetColumn, ...], title: str, path: str, sheet_rows: int
) -> Iterator[pa.RecordBatch]:
    with tempfile.TemporaryDirectory() as folder:
        local = str(Path(folder) / "sheet.xlsx")
        # Text that begins with = + - @ stays text: a product description must not run as a formula.
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "tmpdir": folder}
        rows = 0
        with xlsxwriter.Workbook(local, options) as workbook:
            sheet = _new_sheet(workbook, columns, title)
            for batch in batches:
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    if rows and rows % sheet_rows == 0:
                        sheet = _new_sheet(workbook, columns, title)
                    sheet.write_row(rows % sheet_rows + 1, 0, row)
                    rows += 1
        fs, plain = filesystem(path)
        fs.put_file(local, plain)
    yield pa.RecordBatch.from_arrays([pa.array([rows])], names=["rows"])


def _new_sheet(
    workbook: xlsxwriter.Workbook, columns: tuple[SheetColumn, ...], title: str
) -> xlsxwriter.worksheet.Worksheet:
    number = len(workbook.worksheets()) + 1
    sheet = workbook.add_worksheet(title if number == 1 else f"{title} {number}")
    bold = workbook.add_format({"bold": True})
    for position, column in enumerate(columns):
        sheet.set_column(position, position, column.width)
        sheet.write(0, position, column.title, bold)
    sheet.freeze_panes(1, 0)
    return sheet
