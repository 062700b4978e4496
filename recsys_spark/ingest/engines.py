"""The two engines that open a workbook, behind one shape: sheet names, and rows of cell texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO, Protocol

from recsys_spark.ingest.cells import cell_text
from recsys_spark.ingest.packages import BadPackageError, UnpackLimits, check_extents, check_workbook
from recsys_spark.paths import filesystem

Row = list[str | None]
Span = tuple[int, int, int]  # first row and last row, counted from 1, and the column, from 0

_MERGED = re.compile(rb'<(?:\w+:)?mergeCell ref="([A-Z]+[0-9]+:[A-Z]+[0-9]+)"')
_LONGEST_MARK = 80  # bytes of one such mark
_OPENPYXL_SUFFIXES = (".xlsx", ".xlsm")


class Workbook(Protocol):
    """An open workbook."""

    def sheet_names(self) -> list[str]:
        """Worksheets in their order, hidden ones too; charts are none."""

    def is_hidden(self, sheet: str) -> bool:
        """Whether a spreadsheet program does not show the sheet."""

    def num_rows(self, sheet: str) -> int:
        """Rows down to the last one in use, 0 where the file does not say."""

    def merged(self, sheet: str) -> list[Span]:
        """Cells that are merged over several rows, as far as known; of merged cells the first alone has a value."""

    def knows_merged(self, sheet: str) -> bool:
        """Whether the engine reads from this format which cells are merged."""

    def rows(self, sheet: str) -> Iterator[Row]:
        """Texts of the cells from row 1 and column A on; None is a blank cell. Rows may differ in length."""


@contextmanager
def open_workbook(path: str, engine: str, limits: UnpackLimits | None = None) -> Iterator[Workbook]:
    """Open a workbook with `calamine` or `openpyxl`, after a look at what it unpacks to where limits are given.

    Raises BadPackageError for what breaks them, and whatever the engine raises for a file it cannot read.
    """
    fs, plain = filesystem(path)
    with fs.open(plain, "rb") as file:
        if limits is not None:
            check_workbook(file, limits)
            if engine == "calamine":
                check_extents(file)
        if engine == "calamine":
            yield _CalamineWorkbook(file)
        elif path.lower().endswith(_OPENPYXL_SUFFIXES):
            yield _OpenpyxlWorkbook(file)
        else:
            raise ValueError(f"openpyxl reads {' and '.join(_OPENPYXL_SUFFIXES)} only; set ingest.engine=calamine")


class _CalamineWorkbook:
    def __init__(self, file: BinaryIO) -> None:
        from python_calamine import CalamineWorkbook, PasswordError

        try:
            self._book = CalamineWorkbook.from_filelike(file)
        except PasswordError:  # of an .xls, which says so deep inside
            raise BadPackageError("is encrypted with a password; save it without one") from None
        self._sheet = lru_cache(maxsize=1)(self._book.get_sheet_by_name)  # each call parses the whole sheet

    def sheet_names(self) -> list[str]:
        from python_calamine import SheetTypeEnum

        return [sheet.name for sheet in self._book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]

    def is_hidden(self, sheet: str) -> bool:
        from python_calamine import SheetVisibleEnum

        return any(
            known.name == sheet and known.visible != SheetVisibleEnum.Visible for known in self._book.sheets_metadata
        )

    def num_rows(self, sheet: str) -> int:
        end = self._sheet(sheet).end
        return end[0] + 1 if end else 0

    def merged(self, sheet: str) -> list[Span]:
        ranges = self._sheet(sheet).merged_cell_ranges or []
        return [(top + 1, bottom + 1, left) for (top, left), (bottom, _) in ranges if bottom > top]

    def knows_merged(self, sheet: str) -> bool:
        return self._sheet(sheet).merged_cell_ranges is not None  # as it is of .xlsb

    def rows(self, sheet: str) -> Iterator[Row]:
        cells = self._sheet(sheet)
        if cells.start is None:
            return
        left: Row = [None] * cells.start[1]  # iter_rows begins at row 1, but at the first column in use
        for row in cells.iter_rows():
            yield [*left, *map(cell_text, row)]


class _OpenpyxlWorkbook:
    def __init__(self, file: BinaryIO) -> None:
        from openpyxl import load_workbook

        self._book = load_workbook(file, read_only=True, data_only=True)

    def sheet_names(self) -> list[str]:
        return [sheet.title for sheet in self._book.worksheets]

    def is_hidden(self, sheet: str) -> bool:
        return self._book[sheet].sheet_state != "visible"

    def num_rows(self, sheet: str) -> int:
        return self._book[sheet].max_row or 0

    def merged(self, sheet: str) -> list[Span]:
        from openpyxl.utils.cell import range_boundaries

        # Read row by row, a sheet of openpyxl does not know its merged cells; they stand behind all rows.
        found, rest = [], b""
        with self._book._archive.open(self._book[sheet]._worksheet_path) as part:
            while piece := part.read(1 << 20):
                rest = rest[-_LONGEST_MARK:] + piece
                found += [match[1].decode() for match in _MERGED.finditer(rest)]
        bounds = map(range_boundaries, dict.fromkeys(found))  # one across two pieces may be seen twice
        return [(top, bottom, left - 1) for left, top, _, bottom in bounds if bottom > top]

    def knows_merged(self, sheet: str) -> bool:  # noqa: ARG002 (of every sheet)
        return True

    def rows(self, sheet: str) -> Iterator[Row]:
        cells = self._book[sheet]
        cells.reset_dimensions()  # some programs write a wrong one, which would cut the sheet
        for row in cells.iter_rows():
            yield [_openpyxl_text(cell) for cell in row]


def _openpyxl_text(cell: Any) -> str | None:
    return None if cell.data_type == "e" else cell_text(cell.value)
