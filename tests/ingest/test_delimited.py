import gzip
import random
import re
from pathlib import Path

import pytest

from recsys_spark.contracts.columns import REQUIRED_COLUMNS
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.ingest.readers import read_sources
from tests.ingest.workbook_files import CSV_HEADER, CSV_LINE, LINE_TEXTS, ingest_config, write_text
from tests.support.frames import column, rows


def numbered(count: int, tail: str = "") -> list[str]:
    """Lines whose invoice id is the row that they stand in below a header."""
    return [f"{row},00{row},LAMP{'x' * (row % 7)}{tail},7,2011-03-01,1,2" for row in range(2, count + 2)]


def row_pairs(lines):
    return sorted((row["source_row"], int(row["invoice_id"])) for row in lines.collect())


@pytest.fixture
def tiny_blocks(spark):
    """Spark splits files into blocks of 300 bytes, so that every file of a test has many."""
    key = "spark.sql.files.maxPartitionBytes"
    before = spark.conf.get(key)
    spark.conf.set(key, "300")
    yield
    spark.conf.set(key, before)


def test_a_line_keeps_its_text_and_its_source(spark, tmp_path):
    path = write_text(tmp_path / "orders of march+april.csv", CSV_HEADER + ",Country,Note", CSV_LINE + ',UK," "')
    lines = read_sources(spark, ingest_config(path))
    assert rows(lines, *REQUIRED_COLUMNS) == [LINE_TEXTS]
    source = rows(lines, "extra", "source_file", "source_sheet", "source_row", "ingest_rule")
    assert source == [('{"Country":"UK"}', f"file://{path}", "", 2, None)]


def test_rows_are_numbered_within_their_file_however_spark_splits_it(spark, tmp_path, tiny_blocks):
    counts = {"a.csv": 60, "b.csv": 7, "c.csv": 1, "d.csv": 33}
    for name, count in counts.items():
        write_text(tmp_path / name, CSV_HEADER, *numbered(count))
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    assert lines.rdd.getNumPartitions() > 8
    found = [(row["source_file"][-5:], row["source_row"], int(row["invoice_id"])) for row in lines.collect()]
    assert sorted(found) == [(name, row, row) for name, count in counts.items() for row in range(2, count + 2)]


def test_line_breaks_inside_quotes_stay_in_their_line(spark, tmp_path, tiny_blocks):
    plain = write_text(tmp_path / "plain.csv", CSV_HEADER, *numbered(20))
    quoted = [re.sub("LAMPx*", '"LAMP, ""tall""\\nred"', line) for line in numbered(20)]
    broken = write_text(tmp_path / "broken.csv", CSV_HEADER, *quoted)
    lines = read_sources(spark, ingest_config(plain, broken))
    assert row_pairs(lines) == sorted(2 * [(row, row) for row in range(2, 22)])
    texts = column(
        lines.filter(lines["source_file"].endswith("broken.csv") & (lines["source_row"] == 3)), "description"
    )
    assert texts == ['LAMP, "tall"\nred']


def test_short_and_long_lines_are_kept_with_their_text(spark, tmp_path):
    path = write_text(
        tmp_path / "ragged.csv", CSV_HEADER, "1,A", CSV_LINE + ",more,", ",,,,,,,,", ",,,,,,,lost", CSV_LINE
    )
    lines = read_sources(spark, ingest_config(path))
    assert rows(lines, "source_row", "stock_code", "extra") == [
        (2, "A", '{"ragged_line":"1,A"}'),
        (3, "00123", f'{{"ragged_line":"{CSV_LINE},more,"}}'),
        (5, None, '{"ragged_line":",,,,,,,lost"}'),
        (6, "00123", None),
    ]


def test_title_rows_blank_rows_and_a_totals_row(spark, tmp_path):
    cells = ["Sales of March,,", "", CSV_HEADER, CSV_LINE, ",,,,,,", CSV_LINE, "Total,,,,,12,30.6"]
    lines = read_sources(spark, ingest_config(write_text(tmp_path / "titled.csv", *cells)))
    assert rows(lines, "source_row", "ingest_rule") == [(3, None), (5, None), (6, "totals_row")]


def test_files_with_other_headers_are_mapped_on_their_own(spark, tmp_path):
    write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE)
    write_text(tmp_path / "b.csv", ",".join(reversed(CSV_HEADER.split(","))), ",".join(reversed(CSV_LINE.split(","))))
    assert rows(read_sources(spark, ingest_config(f"{tmp_path}/*.csv")), *REQUIRED_COLUMNS) == [LINE_TEXTS, LINE_TEXTS]


def test_separator_encoding_and_arabic_text(spark, tmp_path):
    line = CSV_LINE.replace("LAMP", "مصباح").replace(",", ";")
    path = write_text(tmp_path / "arabic.txt", CSV_HEADER.replace(",", ";"), line, encoding="windows-1256")
    config = ingest_config(path, csv_separator=";", csv_encoding="windows-1256")
    assert column(read_sources(spark, config), "description") == ["مصباح"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(spark, tmp_path):
    path = tmp_path / "excel.csv"
    path.write_bytes(f"\ufeff{CSV_HEADER}\r\n{CSV_LINE}\r\n".encode())
    assert rows(read_sources(spark, ingest_config(str(path))), *REQUIRED_COLUMNS) == [LINE_TEXTS]


def test_utf_16_and_gzip(spark, tmp_path):
    wide = write_text(tmp_path / "wide.csv", CSV_HEADER, *numbered(5), encoding="utf-16")
    assert len(row_pairs(read_sources(spark, ingest_config(wide, csv_encoding="UTF-16")))) == 5
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress("\n".join([CSV_HEADER, *numbered(5)]).encode()))
    assert row_pairs(read_sources(spark, ingest_config(str(packed)))) == [(row, row) for row in range(2, 7)]


def test_an_unknown_encoding_is_a_config_error(spark, tmp_path):
    path = write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE)
    with pytest.raises(ConfigError, match=r"ingest\.csv_encoding 'klingon' is not known"):
        read_sources(spark, ingest_config(path, csv_encoding="klingon"))


@pytest.mark.parametrize("content", ["", f"{CSV_HEADER}\n", f"{CSV_HEADER}\n,,,\n\n"])
def test_a_file_without_a_line_is_an_error(spark, tmp_path, content):
    path = tmp_path / "bare.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"bare\.csv: no"):
        read_sources(spark, ingest_config(str(path)))


def test_bytes_that_are_no_text_are_a_one_line_error(spark, tmp_path):
    path = tmp_path / "noise.csv"
    path.write_bytes(random.Random(1).randbytes(5_000))
    with pytest.raises(DataError) as caught:
        read_sources(spark, ingest_config(str(path)))
    assert str(Path(path).name) in str(caught.value)
    assert "\n" not in str(caught.value)
