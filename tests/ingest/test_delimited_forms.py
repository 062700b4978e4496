"""CSV as programs write it beside the letter of it."""

import csv
import gzip
import re
from itertools import chain

import pytest

from recsys_spark.contracts.columns import REQUIRED_COLUMNS
from recsys_spark.contracts.errors import BadFileError, DataError
from recsys_spark.ingest import delimited
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.readers import read_sources
from recsys_spark.privacy.customer_ids import pseudonymised
from tests.ingest.workbook_files import CSV_HEADER, CSV_LINE, LINE_TEXTS, ingest_config, write_text
from tests.support.frames import column, rows


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("separator", [",", ";"])
def test_blanks_before_a_quote_and_the_sign_of_a_formula_are_no_part_of_an_id(spark, tmp_path, separator, whole):
    header = CSV_HEADER.replace("stock_code", ' "stock_code"').replace("quantity", '="quantity"')
    name = '"LAMP, ""tall"";\nred"' if whole else '"LAMP, ""tall""; red"'
    lines = [
        f'536365, "85123A",  {name}, ="00123",2011-03-01,=""6"",1',
        f'536366, "85123A", {name},"=""00123""",2011-03-01,6,1,,',
    ]
    quoted = re.compile(r'"(?:[^"]|"")*"|,')
    texts = (quoted.sub(lambda found: separator if found[0] == "," else found[0], line) for line in (header, *lines))
    path = write_text(tmp_path / "a.csv", *texts)
    found = rows(read_sources(spark, ingest_config(path, csv_separator=separator)), *REQUIRED_COLUMNS, "extra")
    told = name[1:-1].replace('""', '"')
    assert [row[1:5] for row in found] == 2 * [("85123A", told, "00123", "2011-03-01")]
    assert [row[-1] for row in found] == [None, None]


def test_separators_behind_the_last_column_of_each_line_make_no_line_ragged(spark, tmp_path):
    lines = [f"{CSV_LINE},", f'{CSV_LINE}, ,""', CSV_LINE.replace("LAMP", '"a, b"') + ",", "1,A", f"{CSV_LINE},x"]
    found = read_sources(spark, ingest_config(write_text(tmp_path / "a.csv", CSV_HEADER, *lines)))
    ragged = [None, None, None, '{"ragged_line":"1,A"}', f'{{"ragged_line":"{CSV_LINE},x"}}']
    assert column(found.orderBy("source_row"), "extra") == ragged
    kept = pseudonymised(found, b"a key of a test, no secret").filter("invoice_date is not null")
    assert sorted(column(kept, "source_row")) == [2, 3, 4]


def test_a_tsv_is_parted_by_tabs_unless_the_config_says_otherwise(spark, tmp_path):
    write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE)
    packed = tmp_path / "b.tsv.gz"
    packed.write_bytes(gzip.compress(f"{CSV_HEADER}\n{CSV_LINE}\n".replace(",", "\t").encode()))
    assert rows(read_sources(spark, ingest_config(str(tmp_path))), *REQUIRED_COLUMNS) == [LINE_TEXTS, LINE_TEXTS]
    path = write_text(tmp_path / "c.tsv", CSV_HEADER.replace(",", ";"), CSV_LINE.replace(",", ";"))
    assert rows(read_sources(spark, ingest_config(path, csv_separator=";")), *REQUIRED_COLUMNS) == [LINE_TEXTS]


@pytest.mark.parametrize(("separator", "name"), [(";", "a semicolon"), ("\t", "a tab"), ("|", "a bar")])
def test_another_separator_is_named(spark, tmp_path, separator, name):
    path = write_text(tmp_path / "a.csv", *(text.replace(",", separator) for text in (CSV_HEADER, CSV_LINE)))
    with pytest.raises(DataError, match=rf"a\.csv: no column .* parted by {name}: set ingest\.csv_separator to it"):
        read_sources(spark, ingest_config(path))


def test_a_cell_among_the_first_rows_may_be_as_long_as_below_them(spark, tmp_path):
    text = "x" * 200_000  # Python's own limit is 131,072
    path = write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE.replace("LAMP", text))
    limit = csv.field_size_limit()
    assert column(read_sources(spark, ingest_config(path)), "description") == [text]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("error", [csv.Error, OSError, EOFError])
def test_a_file_whose_first_rows_cannot_be_read_is_left_out_where_that_is_asked_for(
    spark, tmp_path, monkeypatch, error
):
    def records(text, separator, whole):
        if "odd" in next(text):
            raise error("not as it should be")
        return read_records(chain([CSV_HEADER + "\n"], text), separator, whole)

    read_records = delimited._records
    monkeypatch.setattr(delimited, "_records", records)
    write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE)
    write_text(tmp_path / "odd.csv", "odd" + CSV_HEADER, CSV_LINE)
    with pytest.raises(BadFileError, match=r"odd\.csv is no CSV that can be read: not as it should be; save"):
        read_sources(spark, ingest_config(str(tmp_path)))
    bad = BadFiles(skip=True)
    assert read_sources(spark, ingest_config(str(tmp_path)), bad).count() == 1
    assert [file.path.rpartition("/")[2] for file in bad.found] == ["odd.csv"]


@pytest.mark.parametrize("content", ["", "\n\n", " , ,\n"])
def test_a_file_with_nothing_in_it_is_left_out_where_that_is_asked_for(spark, tmp_path, content):
    write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE)
    (tmp_path / "bare.csv").write_text(content)
    with pytest.raises(BadFileError, match=r"bare\.csv is empty"):
        read_sources(spark, ingest_config(str(tmp_path)))
    bad = BadFiles(skip=True)
    assert read_sources(spark, ingest_config(str(tmp_path)), bad).count() == 1
    assert [file.path.rpartition("/")[2] for file in bad.found] == ["bare.csv"]
