"""Workbooks -> raw lines, parsed on the executors, one task per file and sheet."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.columns import LINE_COLUMNS, REQUIRED_COLUMNS
from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.schemas import RAW_LINES
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.engines import Row, Span, open_workbook
from recsys_spark.ingest.file_tasks import one_task_each
from recsys_spark.ingest.headers import Headers, find_headers, require_columns, unnamed
from recsys_spark.ingest.packages import FAR_CELL, BadPackageError, UnpackLimits

log = logging.getLogger("recsys")

ALL_SHEETS = ("all",)
_OWN_COLUMNS = ("quantity", "line_amount")  # that no line takes from another
_BATCH_ROWS = 20_000  # bounds the memory of a task beside the engine's own
_CELL_LIMIT = "cell limit exceeded"  # what calamine says of a sheet whose rectangle is too large
_PREVIEW = (
    "path string, sheet string, top string, has_more boolean, num_rows bigint, is_hidden boolean, "
    "knows_merged boolean, problem string"
)
_PREVIEW_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("sheet", pa.string()),
        ("top", pa.string()),  # JSON, rows of cell texts
        ("has_more", pa.bool_()),
        ("num_rows", pa.int64()),
        ("is_hidden", pa.bool_()),
        ("knows_merged", pa.bool_()),
        ("problem", pa.string()),
    ]
)
_ARROW_SCHEMA = pa.schema(
    [(column.name, pa.int64() if column.type == "bigint" else pa.string()) for column in RAW_LINES.columns]
)


@dataclass(frozen=True)
class SheetPreview:
    """What the driver learns of a sheet.

    top: its first rows; has_more: whether there are cells below them; num_rows: rows down to the last one in use,
    for the log; knows_merged: whether it can be told which cells are merged.
    """

    path: str
    name: str
    top: list[Row]
    has_more: bool
    num_rows: int
    is_hidden: bool
    knows_merged: bool

    @property
    def where(self) -> str:
        return f"{PurePosixPath(self.path).name}, sheet '{self.name}'"


@dataclass(frozen=True)
class SheetTask:
    """What one parse task needs."""

    path: str
    sheet: str
    headers: Headers


def read_workbooks(spark: SparkSession, paths: Sequence[str], config: IngestConfig, bad: BadFiles) -> DataFrame | None:
    """Lines of all chosen sheets as RAW_LINES; None where no sheet has a line.

    bad: takes files that are no workbook. Raises DataError for a sheet that is not there, and headers that do not fit.
    """
    tasks = []
    chosen = _chosen(inspect_workbooks(spark, paths, config, bad), config.sheets, bad)
    _warn_of_merged(chosen)
    for preview in chosen:
        headers = _headers(preview, config)
        shape = f"{preview.num_rows:,} rows x {len(headers.texts)} columns, headers in row {headers.row}"
        log.info("%s: %s; %s", preview.where, shape, headers.describe())
        if preview.has_more or any(any(row) for row in preview.top[headers.row :]):
            tasks.append(SheetTask(preview.path, preview.name, headers))
        else:
            log.warning("%s: no line below the headers", preview.where)
    if not tasks:
        return None
    parse = partial(_parse_sheet, engine=config.engine, totals_words=_folded(config.totals_words))
    return one_task_each(spark, tasks, parse, RAW_LINES.ddl)


def _warn_of_merged(previews: Iterable[SheetPreview]) -> None:
    for path in dict.fromkeys(preview.path for preview in previews if not preview.knows_merged):
        log.warning(
            "%s: of its format it cannot be told which cells are merged; of cells merged over several lines, the first "
            "line alone has the value. If it has such cells, save it as .xlsx",
            PurePosixPath(path).name,
        )


def _headers(preview: SheetPreview, config: IngestConfig) -> Headers:
    """Where each column is. Raises DataError, which says how to leave a sheet of something else out."""
    try:
        headers = find_headers(preview.top, config.aliases, preview.where)
        require_columns(headers, REQUIRED_COLUMNS, config.aliases, preview.where)
    except DataError as error:
        if config.sheets != ALL_SHEETS:
            raise
        raise DataError(f"{error} If the sheet holds no purchase lines, name those that do in ingest.sheets") from None
    return headers


def inspect_workbooks(
    spark: SparkSession, paths: Sequence[str], config: IngestConfig, bad: BadFiles
) -> list[SheetPreview]:
    """All sheets of the files, by file and position. bad: takes files that the engine cannot open."""
    limits = UnpackLimits(config.max_unpacked_bytes, config.max_unpacked_ratio)
    inspect = partial(_inspect_file, engine=config.engine, num_top=config.header_search_rows, limits=limits)
    found = one_task_each(spark, paths, inspect, _PREVIEW).collect()
    for row in found:
        if row["problem"]:
            bad.add(row["path"], row["problem"])
    whole = [row for row in found if not row["problem"]]
    return [
        SheetPreview(
            r["path"],
            r["sheet"],
            json.loads(r["top"]),
            r["has_more"],
            r["num_rows"],
            r["is_hidden"],
            r["knows_merged"],
        )
        for r in whole
    ]


def _inspect_file(path: str, engine: str, num_top: int, limits: UnpackLimits) -> Iterator[pa.RecordBatch]:
    found: list[dict[str, Any]] = []
    try:
        with open_workbook(path, engine, limits) as book:
            for sheet in book.sheet_names():
                rows = book.rows(sheet)
                top = list(islice(rows, num_top))
                has_more = any(any(row) for row in rows)
                facts = {"has_more": has_more, "num_rows": book.num_rows(sheet)}
                marks = {"is_hidden": book.is_hidden(sheet), "knows_merged": book.knows_merged(sheet)}
                found.append({"path": path, "sheet": sheet, "top": json.dumps(top), **facts, **marks})
    except BadPackageError as error:
        found = [{"path": path, "problem": str(error)}]
    except Exception as error:  # the engines raise a dozen kinds for a file that is damaged or something else
        found = [{"path": path, "problem": _engine_problem(error, engine)}]
    yield pa.RecordBatch.from_pylist(found, _PREVIEW_SCHEMA)  # what a row lacks is null


def _engine_problem(error: Exception, engine: str) -> str:
    if _CELL_LIMIT in str(error).lower():
        return FAR_CELL.format(cell="Ctrl+End goes to it")
    told = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"is no workbook that {engine} can read: {told}; open it in a spreadsheet program and save it anew"


def _chosen(previews: Iterable[SheetPreview], sheets: tuple[str, ...], bad: BadFiles) -> list[SheetPreview]:
    """The sheets that the config names, by name or else by position from 1; for `all`, those in sight with a cell.

    bad: takes the hidden ones that `all` leaves out: they hold old versions and lists of choices more often than lines.
    """
    by_file: dict[str, list[SheetPreview]] = {}
    for preview in previews:
        by_file.setdefault(preview.path, []).append(preview)
    chosen = []
    for path, held in by_file.items():
        if sheets == ALL_SHEETS:
            used = [preview for preview in held if preview.has_more or any(any(row) for row in preview.top)]
            chosen += [preview for preview in used if not preview.is_hidden]
            for preview in used:
                if preview.is_hidden:
                    bad.add_hidden(path, preview.name)
            continue
        keys = {str(position): preview for position, preview in enumerate(held, start=1)}
        keys.update({preview.name: preview for preview in held})
        unknown = [sheet for sheet in sheets if sheet not in keys]
        if unknown:
            names = ", ".join(f"'{preview.name}'" for preview in held)
            raise DataError(f"{PurePosixPath(path).name} has no sheet '{unknown[0]}' (ingest.sheets); it has: {names}")
        chosen += {keys[sheet].name: keys[sheet] for sheet in sheets}.values()  # once, though named and counted
    return chosen


def _parse_sheet(task: SheetTask, engine: str, totals_words: frozenset[str]) -> Iterator[pa.RecordBatch]:
    with open_workbook(task.path, engine) as book:
        rows = islice(enumerate(book.rows(task.sheet), start=1), task.headers.row, None)
        lines = _lines(_filled_down(rows, book.merged(task.sheet), task.headers), task, totals_words)
        while batch := list(islice(lines, _BATCH_ROWS)):
            columns = zip(zip(*batch, strict=True), _ARROW_SCHEMA.types, strict=True)
            arrays = [pa.array(values, type_) for values, type_ in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=_ARROW_SCHEMA)


def _filled_down(
    rows: Iterable[tuple[int, Row]], merged: Iterable[Span], headers: Headers
) -> Iterator[tuple[int, Row]]:
    """Give each row with a cell of its own the values of the cells that are merged over it and a row above.

    Not of quantities and amounts: the sum of an invoice is none of its lines' own.
    """
    own = {headers.columns[column] for column in _OWN_COLUMNS}
    spans: dict[int, list[Span]] = {}
    for span in merged:
        spans.setdefault(span[0], []).append(span)
    below: dict[int, tuple[int, str | None]] = {}  # by column: the last row of the span, and its value
    for number, row in rows:
        if any(row):
            for at, (last, value) in below.items():
                if number <= last and value is not None:
                    row = row + [None] * (at + 1 - len(row))
                    row[at] = row[at] or value
        yield number, row
        for _, last, at in spans.get(number, ()):
            if at not in own and at < len(row):
                below[at] = (last, row[at])


def _lines(rows: Iterable[tuple[int, Row]], task: SheetTask, totals_words: frozenset[str]) -> Iterator[tuple]:
    """Values of RAW_LINES for each row with a cell; one row is held back to know the last."""
    positions = [task.headers.columns.get(column) for column in LINE_COLUMNS]
    width, others = len(task.headers.texts), task.headers.others
    held: tuple[int, Row] | None = None

    def line(number: int, row: Row, rule: str | None) -> tuple:
        row = row + [None] * (width - len(row))
        texts = (None if at is None else row[at] for at in positions)
        return (*texts, _extra(row, others, width), task.path, task.sheet, number, rule)

    for number, row in rows:
        if not any(row):
            continue
        if held:
            yield line(*held, None)
        held = (number, row)
    if held:
        is_total = _is_total(held[1], task.headers, totals_words)
        yield line(*held, "totals_row" if is_total else None)


def _extra(row: Row, others: list[tuple[str, int]], width: int) -> str | None:
    values = {key: row[at] for key, at in others if row[at] is not None}
    values.update({unnamed(at): row[at] for at in range(width, len(row)) if row[at] is not None})
    # As Spark's to_json writes it, so that a line looks the same from every format.
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True) if values else None


def _is_total(row: Row, headers: Headers, totals_words: frozenset[str]) -> bool:
    has_word = any(text.strip().casefold() in totals_words for text in row if text)
    keys = (headers.columns["customer_id"], headers.columns["stock_code"])
    return has_word and any(at >= len(row) or row[at] is None for at in keys)


def _folded(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.strip().casefold() for word in words)
