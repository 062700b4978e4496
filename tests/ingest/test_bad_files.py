"""Files that are damaged, encrypted or forged are named in one line, and skipped where that is asked for."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.ingest import STAGE
from recsys_spark.contracts.artifacts import INGEST_REPORT, RAW_LINES
from recsys_spark.contracts.config import IngestConfig, PathsConfig, PipelineConfig, TablesConfig
from recsys_spark.contracts.errors import EXIT_DATA, BadFileError, DataError
from recsys_spark.ingest.packages import BadPackageError, UnpackLimits, check_gzip, check_workbook
from recsys_spark.ingest.readers import read_sources
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.ingest.damaged_files import LAUGHS, cut, encrypt, forge_size, with_part
from tests.ingest.workbook_files import CSV_HEADER, CSV_LINE, HEADERS, LINE, ingest_config, write_text, write_workbook

LIMITS = UnpackLimits(4 << 30, 200)
SHEET = "xl/worksheets/sheet1.xml"


def problem_of(path: str, limits: UnpackLimits = LIMITS, check=check_workbook) -> str:
    with Path(path).open("rb") as file, pytest.raises(BadPackageError) as caught:
        check(file, limits)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def book(tmp_path) -> str:
    return write_workbook(tmp_path / "orders.xlsx", [HEADERS, *[LINE] * 50])


def test_a_whole_workbook_passes_and_is_left_at_its_start(book, tmp_path):
    with Path(book).open("rb") as file:
        check_workbook(file, LIMITS)
        assert file.tell() == 0
    old = tmp_path / "old.xls"
    old.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 2000)  # left to the engine
    with old.open("rb") as file:
        check_workbook(file, LIMITS)


def test_an_encrypted_workbook_is_told_from_a_damaged_one(book, tmp_path):
    assert problem_of(encrypt(book, tmp_path / "e.xlsx")) == "is encrypted with a password; save it without one"


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_workbook_cut_off_is_named(book, tmp_path, share):
    assert problem_of(cut(book, tmp_path / "cut.xlsx", share)).startswith("is cut off or damaged: ")


def test_a_flipped_byte_of_a_part_is_found_before_any_reader_sees_it(book, tmp_path):
    content = bytearray(Path(book).read_bytes())
    with zipfile.ZipFile(book) as package:
        part = package.getinfo(SHEET)
    content[part.header_offset + 30 + len(SHEET) + part.compress_size // 2] ^= 0xFF
    (tmp_path / "flipped.xlsx").write_bytes(content)
    assert problem_of(str(tmp_path / "flipped.xlsx")).startswith(f"is damaged in '{SHEET}'")


def test_a_declared_size_beyond_the_limit_is_refused_without_unpacking(book, tmp_path):
    forged = forge_size(book, tmp_path / "f.xlsx", SHEET, 0xFFFF_FF00)
    told = problem_of(forged, UnpackLimits(1 << 30, 10**9))
    assert told.startswith("says that it holds 4,29")
    assert told.endswith("if it is genuine, raise ingest.max_unpacked_bytes")


def test_a_ratio_beyond_the_limit_is_refused(book, tmp_path):
    bomb = with_part(book, tmp_path / "bomb.xlsx", SHEET, bytes(110 << 20))
    assert Path(bomb).stat().st_size < 1 << 20
    told = problem_of(bomb)
    assert "times its packed size, more than 200; if it is genuine, raise ingest.max_unpacked_ratio" in told
    with Path(bomb).open("rb") as file:
        check_workbook(file, UnpackLimits(4 << 30, 2000))


def test_a_directory_that_lies_is_found_while_the_part_is_inflated(book, tmp_path):
    bomb = with_part(book, tmp_path / "bomb.xlsx", SHEET, bytes(30 << 20))
    forged = forge_size(bomb, tmp_path / "forged.xlsx", SHEET, 1000, checksum_of=bytes(1000))
    with zipfile.ZipFile(forged) as package:
        assert package.read(SHEET) == bytes(1000)  # the standard library believes it
    assert problem_of(forged).startswith(f"is forged: '{SHEET}' is larger than the file says")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_part_that_declares_entities_is_refused(book, tmp_path, encoding):
    told = problem_of(with_part(book, tmp_path / "laughs.xlsx", "xl/sharedStrings.xml", LAUGHS.encode(encoding)))
    assert told.startswith("is forged: 'xl/sharedStrings.xml' declares XML entities")


def test_a_part_named_to_leave_its_folder_is_refused_and_nothing_is_written(book, tmp_path):
    told = problem_of(with_part(book, tmp_path / "slip.xlsx", "../../evil.txt", b"evil"))
    assert told.startswith("is forged: a part is named '../../evil.txt'")
    assert not list(tmp_path.parent.glob("**/evil.txt"))


def test_parts_that_overlap_or_are_packed_oddly_are_refused(book, tmp_path):
    with zipfile.ZipFile(tmp_path / "odd.xlsx", "w", zipfile.ZIP_LZMA) as package:
        package.writestr(SHEET, b"x" * 1000)
    assert "in a way that workbooks do not" in problem_of(str(tmp_path / "odd.xlsx"))
    content = Path(book).read_bytes()
    start, end = content.find(b"PK\x01\x02"), content.find(b"PK\x05\x06")
    entries, count = content[start:end], content.count(b"PK\x01\x02")
    tail = bytearray(content[end:])
    times = len(content) // 1000 + 40
    tail[8:12] = (count * times).to_bytes(2, "little") * 2
    tail[12:16] = (len(entries) * times).to_bytes(4, "little")
    (tmp_path / "overlap.xlsx").write_bytes(content[:start] + entries * times + bytes(tail))
    assert "is forged: its parts overlap" in problem_of(str(tmp_path / "overlap.xlsx"))


def test_a_gzip_file_that_is_cut_off_damaged_or_a_bomb_is_named(tmp_path):
    text = "\n".join(f"{number},LAMP" for number in range(9_000)).encode()
    two = tmp_path / "two.gz"
    two.write_bytes(gzip.compress(text) + gzip.compress(text))
    with two.open("rb") as file:
        check_gzip(file, LIMITS)
    assert "is cut off" in problem_of(cut(str(two), tmp_path / "cut.gz", 0.9), check=check_gzip)
    (tmp_path / "no.gz").write_bytes(b"plain text")
    assert "is no whole gzip file" in problem_of(str(tmp_path / "no.gz"), check=check_gzip)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(120 << 20)))
    assert "ingest.max_unpacked_ratio" in problem_of(str(tmp_path / "bomb.gz"), check=check_gzip)


def bad_files(folder: Path, spark) -> dict[str, str]:
    """Name -> what is said of it: one file of every kind of damage."""
    good = write_workbook(folder / "good.xlsx", [HEADERS, LINE, LINE])
    write_text(folder / "good.csv", CSV_HEADER, CSV_LINE)
    encrypt(good, folder / "encrypted.xlsx")
    cut(good, folder / "half.xlsx")
    with_part(good, folder / "laughs.xlsx", "xl/sharedStrings.xml", LAUGHS.encode())
    write_text(folder / "nul.csv", CSV_HEADER, CSV_LINE, CSV_LINE.replace("LAMP", "LA\0MP"))
    write_text(folder / "latin.csv", CSV_HEADER, CSV_LINE.replace("LAMP", "café"), encoding="latin-1")
    write_text(folder / "wide.csv", CSV_HEADER, CSV_LINE, encoding="utf-16")
    (folder / "book.csv").write_bytes(Path(good).read_bytes())
    packed = gzip.compress("\n".join([CSV_HEADER, *[CSV_LINE] * 99]).encode())
    (folder / "half.csv.gz").write_bytes(packed[: len(packed) // 2])
    spark.createDataFrame([(1,)], "a int").coalesce(1).write.parquet(str(folder / "p"))
    (part,) = (folder / "p").glob("*.parquet")
    (folder / "half.parquet").write_bytes(part.read_bytes()[:-100])
    whole, footer_bytes = part.read_bytes(), int.from_bytes(part.read_bytes()[-8:-4], "little")
    (folder / "foot.parquet").write_bytes(whole[: -8 - footer_bytes] + b"\xff" * footer_bytes + whole[-8:])
    shutil.rmtree(folder / "p")
    return {
        "encrypted.xlsx": "is encrypted with a password",
        "half.xlsx": "is cut off or damaged",
        "laughs.xlsx": "declares XML entities",
        "nul.csv": "is no text in UTF-8, or holds NUL characters",
        "latin.csv": "is no text in UTF-8",
        "wide.csv": "is text in UTF-16, not in UTF-8",
        "book.csv": "is a workbook or a zip file, no CSV",
        "half.csv.gz": "is cut off",
        "half.parquet": "is no Parquet file",
        "foot.parquet": "is no Parquet file that can be read",
    }


@pytest.mark.spark
def test_each_bad_file_is_named_with_its_reason_and_ends_the_job_with_exit_3(spark, tmp_path):
    told = bad_files(tmp_path, spark)
    for name in ("encrypted.xlsx", "nul.csv", "half.csv.gz", "half.parquet"):  # the others are seen to be skipped
        with pytest.raises(BadFileError) as caught:
            read_sources(spark, ingest_config(str(tmp_path / name)))
        assert str(caught.value).startswith(f"{name} ")
        assert told[name] in str(caught.value)
        assert "; " in str(caught.value)  # what to do
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == EXIT_DATA


@pytest.mark.spark
def test_with_skip_the_others_go_on_and_every_skipped_file_stands_in_the_report(spark, tmp_path, caplog):
    (tmp_path / "in").mkdir()
    expected = bad_files(tmp_path / "in", spark)
    config = PipelineConfig(
        paths=PathsConfig(processed=str(tmp_path / "run")),
        ingest=ingest_config(str(tmp_path / "in"), on_bad_file="skip"),
    )
    storage = Storage(config.paths.processed, spark)
    with caplog.at_level(logging.WARNING, logger="recsys"):
        outcome = run_stage(STAGE, config, storage)
    assert outcome.metrics == {"lines": 3, "files": 12, "skipped_files": 10, "orphans": 0}
    report = storage.read_json(INGEST_REPORT.path)
    assert {Path(file["file"]).name: file["lines"] for file in report["files"]} == {"good.csv": 1, "good.xlsx": 2}
    found = {Path(file["file"]).name: file["reason"] for file in report["skipped_files"]}
    assert found.keys() == expected.keys()
    assert [name for name, said in expected.items() if said not in found[name]] == []
    warned = [record.message for record in caplog.records if record.message.startswith("skipped: ")]
    assert len(warned) == len(expected)
    assert json.dumps(report)


@pytest.mark.spark
def test_where_every_file_is_bad_the_job_ends_although_skipping_is_asked_for(spark, tmp_path):
    write_text(tmp_path / "nul.csv", CSV_HEADER, "\0")
    config = PipelineConfig(
        paths=PathsConfig(processed=str(tmp_path / "run")),
        ingest=ingest_config(str(tmp_path / "nul.csv"), on_bad_file="skip"),
    )
    with pytest.raises(DataError, match=r"nul\.csv: no line below the headers, 1 skipped; nothing to ingest"):
        run_stage(STAGE, config, Storage(config.paths.processed, spark))


@pytest.mark.spark
def test_a_bad_table_of_customers_is_never_skipped_for_all_lines_would_be_orphans(spark, tmp_path):
    transactions = write_text(tmp_path / "t.csv", CSV_HEADER, CSV_LINE)
    customers = write_text(tmp_path / "c.csv", "customer_id,showroom", "17850,\0")
    tables = TablesConfig(transactions=transactions, customers=customers)
    config = PipelineConfig(
        paths=PathsConfig(processed=str(tmp_path / "run")), ingest=IngestConfig(tables=tables, on_bad_file="skip")
    )
    with pytest.raises(BadFileError, match=r"c\.csv is no text in UTF-8, or holds NUL"):
        run_stage(STAGE, config, Storage(config.paths.processed, spark))


def undisturbed_content(spark, config: PipelineConfig, tmp_path: Path) -> str:
    """The fingerprint of the lines of the same sources under a root that saw no fault."""
    storage = Storage(str(tmp_path / "undisturbed"), spark)
    run_stage(STAGE, config, storage)
    return storage.require(RAW_LINES.path, "full").content


@pytest.mark.spark
def test_once_a_bad_workbook_is_mended_the_next_run_equals_one_that_saw_no_fault(spark, book, tmp_path):
    whole = Path(book).read_bytes()
    config = PipelineConfig(paths=PathsConfig(processed=str(tmp_path / "run")), ingest=ingest_config(book))
    storage = Storage(config.paths.processed, spark)
    Path(book).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFileError, match="is cut off or damaged"):
        run_stage(STAGE, config, storage)
    assert storage.stage_record("ingest") is None
    Path(book).write_bytes(whole)
    assert run_stage(STAGE, config, storage).metrics["lines"] == 50
    assert storage.require(RAW_LINES.path, "full").content == undisturbed_content(spark, config, tmp_path)


@pytest.mark.spark
def test_text_of_another_encoding_passes_where_that_is_configured(spark, tmp_path):
    latin = write_text(tmp_path / "l.csv", CSV_HEADER, CSV_LINE.replace("LAMP", "café"), encoding="latin-1")
    assert read_sources(spark, ingest_config(latin, csv_encoding="ISO-8859-1")).count() == 1
    wide = tmp_path / "w.csv"
    wide.write_bytes(f"{CSV_HEADER}\n{CSV_LINE}\n".encode("utf-16") + b"\x00\xd8")  # half of a surrogate pair
    with pytest.raises(BadFileError, match=r"w\.csv is no text in UTF-16"):
        read_sources(spark, ingest_config(str(wide), csv_encoding="UTF-16"))


@pytest.mark.spark
@pytest.mark.parametrize("change", ["grows", "goes", "same size"])
def test_a_file_that_changes_while_it_is_read_is_named_and_nothing_is_published(spark, tmp_path, change):
    path = Path(write_text(tmp_path / "orders.csv", CSV_HEADER, CSV_LINE))
    config = PipelineConfig(paths=PathsConfig(processed=str(tmp_path / "run")), ingest=ingest_config(str(path)))
    storage = Storage(config.paths.processed, spark)

    def run(io, config):
        if change == "goes":
            path.unlink()
        elif change == "grows":
            path.write_text(path.read_text() + CSV_LINE + "\n")
        else:
            path.write_text(path.read_text().replace("LAMP", "DESK"))
        return STAGE.run(io, config)

    with pytest.raises(DataError, match=r"orders\.csv' changed while it was read") as caught:
        run_stage(replace(STAGE, run=run), config, storage)
    assert caught.value.exit_code == EXIT_DATA
    assert storage.manifest(RAW_LINES.path) is None
    assert storage.stage_record("ingest") is None
    write_text(path, CSV_HEADER, CSV_LINE)
    run_stage(STAGE, config, storage)
    assert storage.require(RAW_LINES.path, "full").content == undisturbed_content(spark, config, tmp_path)


@pytest.mark.spark
def test_a_file_that_is_only_touched_has_not_changed(spark, tmp_path):
    path = Path(write_text(tmp_path / "orders.csv", CSV_HEADER, CSV_LINE))
    config = PipelineConfig(paths=PathsConfig(processed=str(tmp_path / "run")), ingest=ingest_config(str(path)))

    def run(io, config):
        path.touch()
        return STAGE.run(io, config)

    outcome = run_stage(replace(STAGE, run=run), config, Storage(config.paths.processed, spark))
    assert outcome.metrics["lines"] == 1
