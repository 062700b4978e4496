import logging
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import xlsxwriter

from recsys_spark.contracts.columns import REQUIRED_COLUMNS
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.schemas import RAW_LINES
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.readers import read_sources
from tests.ingest.workbook_files import HEADERS, LINE, LINE_TEXTS, NOON, ingest_config, write_text, write_workbook
from tests.support.frames import column, rows

ENGINES = ("calamine", "openpyxl")
OPEN_DOCUMENT = ("office", "table", "text", "manifest")
ONLINE_RETAIL = Path(__file__).parents[3] / "shared" / "data" / "online_retail_2010-12_2011-05.xlsx"


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def test_a_line_keeps_its_cells_as_text_and_its_source(spark, tmp_path, engine):
    path = write_workbook(tmp_path / "orders.xlsx", [[*HEADERS, "Country"], [*LINE, "UK"]])
    lines = read_sources(spark, ingest_config(path, engine=engine))
    assert lines.columns == RAW_LINES.names
    assert rows(lines, *REQUIRED_COLUMNS) == [LINE_TEXTS]
    source = rows(lines, "extra", "source_file", "source_sheet", "source_row", "ingest_rule")
    assert source == [('{"Country":"UK"}', f"file://{path}", "Lines", 2, None)]


def test_both_engines_give_the_same_lines(spark, tmp_path):
    odd = [
        [" C536379 ", "مصباح", True, 71053, datetime(2010, 12, 1), "=1/0", -2.55, "#N/A", 1e-7, timedelta(hours=36)],
        [0.1 + 0.2, "1,234.50", False, "00017", datetime(2010, 12, 1, 8, 25, 59), 40513.35, 1e22, None, 12345678.9],
        [None, None, "x\ny", 123456789012345678, timedelta(minutes=7), "Jan-1", "(12.00)", "", " ", "beyond"],
    ]
    titled = [["March"], [], [None, *HEADERS, "Note"], *([None, *row] for row in odd), ["Total", None, None, None, 4]]
    path = write_workbook(tmp_path / "odd.xlsx", {"A": titled, "Empty": [], "B": [HEADERS, LINE]})
    by_calamine, by_openpyxl = (rows(read_sources(spark, ingest_config(path, engine=engine))) for engine in ENGINES)
    assert len(by_calamine) == 5
    assert by_calamine == by_openpyxl


def test_excel_serials_pass_as_number_text_and_error_cells_as_blank(spark, tmp_path, engine):
    path = write_workbook(tmp_path / "serial.xlsx", [HEADERS, [1, "A", "=1/0", 7, 40513.351388888892, 1, 2]])
    lines = read_sources(spark, ingest_config(path, engine=engine))
    assert rows(lines, "invoice_date", "description") == [("40513.35138888889", None)]


def test_title_rows_and_blank_rows_are_skipped_and_row_numbers_stay(spark, tmp_path, engine):
    cells = [[], ["Sales of March"], [], HEADERS, LINE, [], [None, " "], LINE]
    path = write_workbook(tmp_path / "titled.xlsx", cells)
    assert column(read_sources(spark, ingest_config(path, engine=engine)), "source_row") == [5, 8]


def test_columns_right_of_the_first_and_unnamed_ones_are_found(spark, tmp_path, engine):
    path = write_workbook(tmp_path / "right.xlsx", [[None, None, *HEADERS], [None, "remark", *LINE, "far"]])
    lines = read_sources(spark, ingest_config(path, engine=engine))
    assert rows(lines, "invoice_id", "extra") == [("536365", '{"column_10":"far","column_2":"remark"}')]


@pytest.mark.parametrize("word", ["Total", " GRAND TOTAL ", "الإجمالي"])
def test_a_totals_row_at_the_end_is_marked(spark, tmp_path, word):
    path = write_workbook(tmp_path / "totals.xlsx", [HEADERS, LINE, [], [word, None, None, None, None, 6, 15.3], []])
    assert rows(read_sources(spark, ingest_config(path)), "source_row", "ingest_rule") == [(2, None), (4, "totals_row")]


@pytest.mark.parametrize(
    "cells",
    [
        [HEADERS, ["Total", None, None, None, None, 6, 15.3], LINE],  # not the last row
        [HEADERS, ["Total", *LINE[1:]]],  # has both references
        [HEADERS, ["Totally", None, None, None, None, 6, 15.3]],  # another word
    ],
)
def test_other_rows_are_no_totals(spark, tmp_path, cells):
    path = write_workbook(tmp_path / "lines.xlsx", cells)
    assert set(column(read_sources(spark, ingest_config(path)), "ingest_rule")) == {None}


def test_each_sheet_has_its_own_header_row(spark, tmp_path):
    swapped = [["Branch", *reversed(HEADERS)], ["Riyadh", *reversed(LINE)]]
    path = write_workbook(tmp_path / "sheets.xlsx", {"Jan": [HEADERS, LINE], "Feb": [[], *swapped]})
    lines = read_sources(spark, ingest_config(path))
    expected = [("Feb", 3, *LINE_TEXTS, "Riyadh"), ("Jan", 2, *LINE_TEXTS, None)]
    assert rows(lines, "source_sheet", "source_row", *REQUIRED_COLUMNS, "showroom") == expected


@pytest.mark.parametrize(
    ("sheets", "expected"),
    [(("all",), ["1", "A", "B"]), (("B",), ["B"]), (("3", "A"), ["1", "A"]), (("B", "2", "B"), ["B"])],
)
def test_sheets_are_chosen_by_name_or_by_position_from_one(spark, tmp_path, sheets, expected):
    path = write_workbook(tmp_path / "s.xlsx", {name: [HEADERS, LINE] for name in ("A", "B", "1")})
    assert sorted(column(read_sources(spark, ingest_config(path, sheets=sheets)), "source_sheet")) == expected


def test_a_sheet_named_like_a_position_is_taken_by_its_name(spark, tmp_path):
    path = write_workbook(tmp_path / "s.xlsx", {name: [HEADERS, LINE] for name in ("A", "1")})
    assert column(read_sources(spark, ingest_config(path, sheets=("1",))), "source_sheet") == ["1"]


def test_a_sheet_that_is_not_there_is_an_error_that_lists_the_sheets(spark, tmp_path):
    path = write_workbook(tmp_path / "s.xlsx", {"Jan": [HEADERS, LINE], "Feb": [HEADERS, LINE]})
    with pytest.raises(DataError, match=r"s\.xlsx has no sheet 'Mar' .*it has: 'Jan', 'Feb'"):
        read_sources(spark, ingest_config(path, sheets=("Mar",)))


def test_hidden_sheets_are_read_only_where_they_are_named(spark, tmp_path, engine):
    names = ("Lines", "Old", "_Older", "Empty")
    sheets = {name: [HEADERS, LINE] if name != "Empty" else [] for name in names}
    path = write_workbook(tmp_path / "s.xlsx", sheets, hidden=names[1:])
    bad = BadFiles()
    lines = read_sources(spark, ingest_config(path, engine=engine), bad)
    assert column(lines, "source_sheet") == ["Lines"]
    assert [sheet for _, sheet in bad.hidden_sheets] == ["Old", "_Older"]
    named = read_sources(spark, ingest_config(path, engine=engine, sheets=("Old", "3")))
    assert sorted(column(named, "source_sheet")) == ["Old", "_Older"]


def test_cells_merged_over_the_lines_of_an_invoice_are_those_of_each_line(spark, tmp_path, engine):
    lines = [
        [1, "A", "LAMP", 7, NOON, 1, 10],
        [None, "B", "DESK", None, None, 2, None],
        [None, None, None, None, None, None, None],  # no line, though merged cells lie over it
        [2, "C", "SOFA", 8, NOON, 3, 30],
        [None, "D", "RUG", None, NOON, None, 40],
    ]
    spans = ("A2:A4", "D2:D4", "E2:E4", "G2:G4", "D5:D6", "F5:F6")
    path = write_workbook(tmp_path / "merged.xlsx", [HEADERS, *lines], merged=spans)
    found = read_sources(spark, ingest_config(path, engine=engine)).orderBy("source_row")
    noon = "2011-03-01T12:00:00"
    assert [tuple(row[name] for name in ("source_row", *REQUIRED_COLUMNS)) for row in found.collect()] == [
        (2, "1", "A", "LAMP", "7", noon, "1", "10"),
        (3, "1", "B", "DESK", "7", noon, "2", None),  # an amount over two lines is the amount of neither
        (5, "2", "C", "SOFA", "8", noon, "3", "30"),
        (6, None, "D", "RUG", "8", noon, None, "40"),
    ]


def test_files_whose_merged_cells_cannot_be_known_are_warned_of_by_name(spark, tmp_path, caplog):
    # OpenDocument stands in for .xlsb, which no library of Python writes: of both calamine tells no merged cells.
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    cells = ("".join(map(cell.format, row)) for row in (HEADERS, LINE_TEXTS))
    rows = "".join(f"<table:table-row>{row}</table:table-row>" for row in cells)
    names = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in OPEN_DOCUMENT)
    body = f'<office:spreadsheet><table:table table:name="A">{rows}</table:table></office:spreadsheet>'
    with zipfile.ZipFile(tmp_path / "old.ods", "w") as package:
        package.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        package.writestr("META-INF/manifest.xml", f"<manifest:manifest {names}/>")
        package.writestr(
            "content.xml",
            f"<office:document-content {names}><office:body>{body}</office:body></office:document-content>",
        )
    known = write_workbook(tmp_path / "new.xlsx", [HEADERS, LINE])
    with caplog.at_level(logging.WARNING, logger="recsys"):
        lines = read_sources(spark, ingest_config(str(tmp_path / "old.ods"), known, format="workbook"))
    assert lines.count() == 2
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith("old.ods: of its format it cannot be told which cells are merged")


@pytest.mark.parametrize("notes", [["Call Riyadh"], ["Qty", "Units"]])
def test_a_sheet_of_notes_is_an_error_that_says_how_to_leave_it_out(spark, tmp_path, notes):
    path = write_workbook(tmp_path / "s.xlsx", {"Lines": [HEADERS, LINE], "Notes": [notes]})
    with pytest.raises(DataError, match=r"sheet 'Notes': .* name those that do in ingest\.sheets"):
        read_sources(spark, ingest_config(path))
    assert read_sources(spark, ingest_config(path, sheets=("Lines",))).count() == 1


def test_a_cell_far_from_the_others_is_named_before_calamine_breaks_on_it(spark, tmp_path):
    book = xlsxwriter.Workbook(str(tmp_path / "far.xlsx"))
    sheet = book.add_worksheet()
    for number, row in enumerate([HEADERS, LINE_TEXTS]):
        sheet.write_row(number, 0, row)
    sheet.write(1_048_575, 16_383, "x")
    book.close()
    with pytest.raises(DataError, match=r"far\.xlsx has a sheet whose last cell \(cell XFD1048576\) lies too far out"):
        read_sources(spark, ingest_config(str(tmp_path / "far.xlsx")))


def test_arabic_headers_sheets_files_and_texts(spark, tmp_path, engine):
    arabic = ["رقم الفاتورة", "رمز الصنف", "الوصف", "العميل", "التاريخ", "الكمية", "القيمة"]
    line = ["ف-١", "٠٠١٢", "مصباح طاولة", "ع٧", LINE[4], "٦", "١٥٫٣"]
    path = write_workbook(tmp_path / "مبيعات مارس.xlsx", {"مارس": [arabic, line]})
    aliases = {column: [header] for column, header in zip(REQUIRED_COLUMNS, arabic, strict=True)}
    lines = read_sources(spark, ingest_config(path, aliases=aliases, engine=engine))
    expected = ("ف-١", "٠٠١٢", "مصباح طاولة", "ع٧", "2011-03-01T12:00:00", "٦", "١٥٫٣")
    assert rows(lines, *REQUIRED_COLUMNS, "source_sheet") == [(*expected, "مارس")]


def test_a_file_that_is_no_workbook_is_named(spark, tmp_path, engine):
    good = write_workbook(tmp_path / "a.xlsx", [HEADERS, LINE])
    bad = write_text(tmp_path / "notes.xlsx", "just text")
    with pytest.raises(DataError, match=rf"notes\.xlsx is no workbook that {engine} can read") as caught:
        read_sources(spark, ingest_config(good, bad, engine=engine))
    assert "\n" not in str(caught.value)


def test_a_missing_column_names_file_and_sheet(spark, tmp_path):
    path = write_workbook(tmp_path / "short.xlsx", [HEADERS[:6], LINE[:6]])
    with pytest.raises(
        DataError, match=r"short\.xlsx, sheet 'Lines': no column for line_amount\. Headers found in row 1"
    ):
        read_sources(spark, ingest_config(path))


def test_headers_only_are_an_error(spark, tmp_path, engine):
    path = write_workbook(tmp_path / "bare.xlsx", [["Title"], HEADERS, [None, "  "]])
    with pytest.raises(DataError, match=r"bare\.xlsx: no line below the headers"):
        read_sources(spark, ingest_config(path, engine=engine))


def test_lines_below_the_searched_rows_and_beyond_one_batch_are_all_read(spark, tmp_path):
    path = write_workbook(tmp_path / "long.xlsx", [HEADERS, *[[]] * 30, *[LINE] * 20_001])
    lines = read_sources(spark, ingest_config(path))
    assert lines.agg({"source_row": "min"}).first()[0] == 32
    assert lines.select("source_row").distinct().count() == 20_001


@pytest.mark.slow
@pytest.mark.skipif(not ONLINE_RETAIL.exists(), reason="the workbook is not part of the repository")
def test_the_first_half_year_of_online_retail_has_209029_lines(spark):
    lines = read_sources(spark, ingest_config(str(ONLINE_RETAIL)))
    assert lines.count() == 209_029
