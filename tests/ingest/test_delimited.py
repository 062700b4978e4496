import gzip
import random
import re
from pathlib import Path

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from recsys_spark.contracts.columns import REQUIRED_COLUMNS
from recsys_spark.contracts.errors import BadFileError, ConfigError, DataError
from recsys_spark.ingest.readers import read_sources
from tests.ingest.workbook_files import CSV_HEADER, CSV_LINE, LINE_TEXTS, ingest_config, write_text
from tests.support.frames import column, rows


def numbered(count: int, tail: str = "") -> list[str]:
    """Lines whose invoice id is the row that they stand in below a header."""
    return [f"{row},00{row},LAMP{'x' * (row % 7)}{tail},7,2011-03-01,1,2" for row in range(2, count + 2)]


def row_pairs(lines):
    return sorted((row["source_row"], int(row["invoice_id"])) for row in lines.collect())


@pytest.fixture
def split(spark):
    """Say how Spark splits files: settings below spark.sql, gone after the test."""
    said = {"spark.sql.files.minPartitionNum"}  # which reading sets

    def set_all(settings):
        for key, value in settings.items():
            spark.conf.set(f"spark.sql.{key}", value)
            said.add(f"spark.sql.{key}")

    yield set_all
    for key in said:
        spark.conf.unset(key)


@pytest.fixture
def tiny_blocks(split):
    """Spark splits files into blocks of 300 bytes, so that every file of a test has many."""
    split({"files.maxPartitionBytes": "300"})


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


def test_rows_keep_their_numbers_where_the_cluster_grows_before_the_write(spark, tmp_path, split):
    for name in "abcdef":
        write_text(tmp_path / f"{name}.csv", CSV_HEADER, *numbered(60))
    split({"files.openCostInBytes": "0", "leafNodeDefaultParallelism": "2"})
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    split({"leafNodeDefaultParallelism": "40"})
    assert row_pairs(lines) == sorted(6 * [(row, row) for row in range(2, 62)])


@pytest.mark.parametrize(
    ("counted", "written"),
    [
        ({"files.maxPartitionBytes": "300"}, {"files.maxPartitionBytes": "700"}),  # other blocks
        ({"files.maxPartitionBytes": "700"}, {"files.maxPartitionBytes": "300"}),
        ({"files.maxPartitionBytes": "4500"}, {"files.maxPartitionBytes": "9000"}),  # the same in other tasks
        ({"files.minPartitionNum": "3"}, {"files.minPartitionNum": "40"}),
    ],
)
def test_rows_that_are_split_otherwise_than_when_counted_are_an_error(spark, tmp_path, split, counted, written):
    for name in "abcdef":
        write_text(tmp_path / f"{name}.csv", CSV_HEADER, *numbered(60))
    split({"files.openCostInBytes": "0", **counted})
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    split(written)
    with pytest.raises((PySparkException, Py4JJavaError), match=r"\.csv are split otherwise than when counted; run"):
        lines.collect()


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


@pytest.mark.parametrize(
    ("stray", "line"),
    [
        ({31: '"12in LAMP'}, 31),
        ({31: '"Special LAMP', 60: '"Red ""x"" LAMP"'}, 31),
        ({31: '"Special LAMP', 60: '"Red LAMP"'}, 31),
        ({12: '"LAMP, ""tall""\nred"', 31: '"12in LAMP'}, 32),  # a line more above it
    ],
)
def test_a_stray_quote_takes_no_line_away_unseen(spark, tmp_path, stray, line):
    lines = [
        re.sub("LAMPx*", lambda found, row=row: stray.get(row, found[0]), text)
        for row, text in enumerate(numbered(100), start=2)
    ]
    path = write_text(tmp_path / "stray.csv", CSV_HEADER, *lines)
    with pytest.raises(BadFileError, match=rf"stray\.csv has a quote in or below line {line} that opens a cell"):
        read_sources(spark, ingest_config(path))


def test_a_quote_that_stays_in_its_line_is_read(spark, tmp_path):
    texts = ['LAMP 12"', '"20" TV"', '"LAMP ""tall"""', '"LAMP\n\nred"', '"a ""b""\r\nc, d"']
    lines = [f"{row},A,{text},7,2011-03-01,1,2" for row, text in enumerate(texts, start=2)]
    lines = read_sources(spark, ingest_config(write_text(tmp_path / "a.csv", CSV_HEADER, *lines)))
    assert rows(lines, "source_row", "description", "line_amount") == [
        (2, 'LAMP 12"', "2"),
        (3, '"20" TV"', "2"),
        (4, 'LAMP "tall"', "2"),
        (5, "LAMP\n\nred", "2"),
        (6, 'a "b"\r\nc, d', "2"),
    ]


def test_a_stray_quote_is_found_in_wide_and_packed_text(spark, tmp_path):
    lines = [CSV_HEADER, *numbered(5), CSV_LINE.replace("LAMP", '"LAMP'), CSV_LINE]
    wide = write_text(tmp_path / "wide.csv", *lines, encoding="utf-16")
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    for path, encoding in ((wide, "UTF-16"), (str(packed), "UTF-8")):
        with pytest.raises(BadFileError, match="in or below line 7 "):
            read_sources(spark, ingest_config(path, csv_encoding=encoding))


def test_a_long_cell_is_read(spark, tmp_path):
    long = "x" * 200_000  # more than Python's reader takes unless told
    path = write_text(tmp_path / "long.csv", CSV_HEADER, *numbered(30), CSV_LINE.replace("LAMP", f'"{long}\nred"'))
    assert max(len(text) for text in column(read_sources(spark, ingest_config(path)), "description")) == 200_004


def test_short_and_long_lines_are_kept_with_their_text(spark, tmp_path):
    path = write_text(
        tmp_path / "ragged.csv", CSV_HEADER, "1,A", CSV_LINE + ",more,", ",,,,,,,,", ",,,,,,,lost", CSV_LINE
    )
    lines = read_sources(spark, ingest_config(path))
    assert rows(lines, "source_row", "stock_code", "extra", "ingest_rule") == [
        (2, "A", '{"ragged_line":"1,A"}', None),
        (3, "00123", f'{{"ragged_line":"{CSV_LINE},more,"}}', "ragged_line"),
        (5, None, '{"ragged_line":",,,,,,,lost"}', "ragged_line"),
        (6, "00123", None, None),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("last", ["", '"two\nlines"'])  # read a line at a time, and whole
def test_a_line_with_filled_fields_behind_the_last_column_has_a_rule(spark, tmp_path, separator, last):
    worked = {
        "2,A2,LAMP,7,2011-03-01,1,1,530.00": "ragged_line",  # an amount of 1,530.00 that nobody quoted
        "2,A2,LAMP,7,2011-03-01,1,1530.00,,,": None,
        '2,A2,LAMP,7,2011-03-01,1,1530.00,"", \u00a0': None,
        '2,A2,"LAMP, ""tall"", red",7,2011-03-01,1,2,': None,
        '2,A2,"LAMP, red" ,7,2011-03-01,1,2,,': None,
        '2,A2,LAMP, 12"",7,2011-03-01,1,2': "ragged_line",
        '2,A2,"20" TV, red",7,2011-03-01,1,2': "ragged_line",
        '2,A2,"LAMP, red",7,2011-03-01,1,2,,"x"': "ragged_line",
        f"2,A2,{last},7,2011-03-01,1,2,,x": "ragged_line",
        f"2,A2,{last},7,2011-03-01,1,2,": None,
        "2,A2,LAMP,7,2011-03-01,1": None,
        "Total,,,,,1,1,530.00": "totals_row",
    }
    path = write_text(tmp_path / "a.csv", *(text.replace(",", separator) for text in (CSV_HEADER, *worked)))
    lines = read_sources(spark, ingest_config(path, csv_separator=separator)).orderBy("source_row")
    assert column(lines, "ingest_rule") == list(worked.values())


def test_title_rows_blank_rows_and_a_totals_row(spark, tmp_path):
    cells = ["Sales of March,,", "", CSV_HEADER, CSV_LINE, ",,,,,,", CSV_LINE, "Total,,,,,12,30.6"]
    lines = read_sources(spark, ingest_config(write_text(tmp_path / "titled.csv", *cells)))
    assert rows(lines, "source_row", "ingest_rule") == [(3, None), (5, None), (6, "totals_row")]


def test_lines_above_a_second_header_row_are_read(spark, tmp_path):
    more = [f"{CSV_HEADER},category", f"{CSV_LINE},Lamps"]
    path = write_text(tmp_path / "stacked.csv", CSV_HEADER, *numbered(3), *more)
    found = rows(read_sources(spark, ingest_config(path)), "source_row", "invoice_id", "ingest_rule")
    kept, others = [(row, str(row), None) for row in (2, 3, 4)], [(5, "invoice_id"), (6, "536365")]
    assert found == [*kept, *((*line, "ragged_line") for line in others)]


def test_a_line_of_tabs_alone_above_the_headers_is_no_row(spark, tmp_path):
    cells = ["Sales of March", *(text.replace(",", "\t") for text in (",,", CSV_HEADER, *numbered(2)))]
    path = write_text(tmp_path / "tabs.tsv", *cells)
    lines = read_sources(spark, ingest_config(path, csv_separator="\t"))
    assert rows(lines, "source_row", "invoice_id") == [(3, "2"), (4, "3")]  # row 1 is the title, row 2 the headers


@pytest.mark.parametrize("line", [CSV_LINE, CSV_LINE.replace("LAMP", '"LA\nMP"')])  # read a line at a time, and whole
def test_the_headers_are_in_the_row_that_spark_counts(spark, tmp_path, line):
    above = ["Sales", '""', "\u00a0", " \t ", ""]  # the last two are no rows: white space of ASCII alone
    lines = read_sources(spark, ingest_config(write_text(tmp_path / "titled.csv", *above, CSV_HEADER, line)))
    assert rows(lines, "source_row", "invoice_id") == [(5, "536365")]


def test_a_line_of_tabs_alone_is_a_row_of_a_file_that_is_read_whole(spark, tmp_path):
    cells = [text.replace(",", "\t") for text in (",,", CSV_HEADER, CSV_LINE.replace("LAMP", '"LA\n\nMP"'))]
    lines = read_sources(spark, ingest_config(write_text(tmp_path / "tabs.tsv", "Sales", *cells)))
    assert rows(lines, "source_row", "description") == [(4, "LA\n\nMP")]


@pytest.mark.parametrize("blank", ["\u00a0", " \t", "\u3000\u2009"])
def test_a_cell_of_any_white_space_is_blank(spark, tmp_path, blank):
    blank_row = ",".join([blank] * 7)
    path = write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE.replace("17850", blank), blank_row, blank, CSV_LINE)
    assert rows(read_sources(spark, ingest_config(path)), "invoice_id", "customer_id", "extra") == [
        ("536365", "17850", None),
        ("536365", None, None),
    ]


def test_files_with_other_headers_are_mapped_on_their_own(spark, tmp_path):
    write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE)
    write_text(tmp_path / "b.csv", ",".join(reversed(CSV_HEADER.split(","))), ",".join(reversed(CSV_LINE.split(","))))
    assert rows(read_sources(spark, ingest_config(f"{tmp_path}/*.csv")), *REQUIRED_COLUMNS) == [LINE_TEXTS, LINE_TEXTS]


def test_separator_encoding_and_arabic_text(spark, tmp_path):
    line = CSV_LINE.replace("LAMP", "مصباح").replace(",", ";")
    path = write_text(tmp_path / "arabic.txt", CSV_HEADER.replace(",", ";"), line, encoding="windows-1256")
    config = ingest_config(path, csv_separator=";", csv_encoding="windows-1256")
    assert column(read_sources(spark, config), "description") == ["مصباح"]


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1256"])
def test_line_breaks_inside_quotes_are_found_in_every_encoding(spark, tmp_path, encoding):
    line = CSV_LINE.replace("LAMP", '"é b\né d"')  # bytes of which UTF-8 would make one letter with the two behind
    path = write_text(tmp_path / "a.csv", CSV_HEADER, line, encoding=encoding)
    lines = read_sources(spark, ingest_config(path, csv_encoding=encoding))
    assert rows(lines, "source_row", "description", "quantity") == [(2, "é b\né d", "6")]


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


@pytest.mark.parametrize("content", [f"{CSV_HEADER}\n", f"{CSV_HEADER}\n,,,\n\n"])
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
