"""Small source files for the tests of ingest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import xlsxwriter

from recsys_spark.contracts.config import IngestConfig

HEADERS = ["InvoiceNo", "StockCode", "Description", "CustomerID", "InvoiceDate", "Quantity", "LineAmount"]
NOON = datetime(2011, 3, 1, 12, 0)
LINE = [536365, "00123", "LAMP", 17850, NOON, 6, 15.3]
LINE_TEXTS = ("536365", "00123", "LAMP", "17850", "2011-03-01T12:00:00", "6", "15.3")
CSV_HEADER = "invoice_id,stock_code,description,customer_id,invoice_date,quantity,line_amount"
CSV_LINE = "536365,00123,LAMP,17850,2011-03-01T12:00:00,6,15.3"

Rows = Sequence[Sequence[Any]]


def write_workbook(
    path: Path, sheets: Rows | Mapping[str, Rows], hidden: Sequence[str] = (), merged: Sequence[str] = ()
) -> str:
    """A real workbook; plain rows become one sheet 'Lines'. None leaves a cell out, `=` begins a formula in error.

    hidden: sheets that Excel does not show, those that begin with `_` not even in its menu. merged: ranges of every
    sheet, such as A2:A4, whose first cell keeps its value.
    """
    book = xlsxwriter.Workbook(str(path))
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    clock = book.add_format({"num_format": "[hh]:mm:ss"})
    for name, rows in (sheets if isinstance(sheets, Mapping) else {"Lines": sheets}).items():
        sheet = book.add_worksheet(name)
        for span in merged:
            sheet.merge_range(span, "")
        if name in hidden:
            sheet.very_hidden() if name.startswith("_") else sheet.hide()
        for number, row in enumerate(rows):
            for at, value in enumerate(row):
                if isinstance(value, str) and value.startswith("="):
                    sheet.write_formula(number, at, value, None, "#DIV/0!")
                elif isinstance(value, str):
                    sheet.write_string(number, at, value)
                elif isinstance(value, (time, timedelta)):
                    sheet.write_datetime(number, at, value, clock)
                elif isinstance(value, date):
                    sheet.write_datetime(number, at, value, moment)
                elif value is not None:
                    sheet.write(number, at, value)
    book.close()
    return str(path)


def write_text(path: Path, *lines: str, encoding: str = "utf-8") -> str:
    """A text file of these lines."""
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return str(path)


def ingest_config(*sources: str, **values: Any) -> IngestConfig:
    return IngestConfig(sources=tuple(sources), **values)
