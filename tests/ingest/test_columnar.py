import json
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType

from recsys_spark.contracts.errors import DataError
from recsys_spark.ingest.columnar import as_text
from recsys_spark.ingest.readers import read_sources
from tests.ingest.workbook_files import HEADERS, LINE_TEXTS, ingest_config, write_text
from tests.support.frames import column, rows

DDL = (
    "InvoiceNo bigint, StockCode double, Description string, CustomerID decimal(12,2), InvoiceDate timestamp, "
    "Quantity float, LineAmount double, `Net.Price` decimal(10,4), Shipped date, Paid boolean, Tags array<string>"
)
ROW = (
    *(536365, 71053.0, " ", Decimal("17850.00"), datetime(2011, 3, 1, 11, 59, 59, 600_000), 2.55, 12345678.9),
    *(Decimal("2.5500"), date(2011, 3, 1), True, ["a"]),
)


def write_table(path, **columns):
    """A file of the project's columns as texts, with these instead; None leaves one out."""
    length = len(next((values for values in columns.values() if values is not None), [0, 0]))
    whole = {name: [text] * length for name, text in zip(HEADERS, LINE_TEXTS, strict=True)} | columns
    pq.write_table(pa.table({name: values for name, values in whole.items() if values is not None}), path)


def test_columns_of_every_type_become_the_text_of_a_cell(spark, tmp_path):
    spark.createDataFrame([ROW], DDL).write.parquet(str(tmp_path / "p"))
    lines = read_sources(spark, ingest_config(str(tmp_path / "p")))
    names = ("invoice_id", "stock_code", "description", "customer_id", "invoice_date", "quantity", "line_amount")
    assert rows(lines, *names) == [("536365", "71053", None, "17850", "2011-03-01T12:00:00", "2.55", "12345678.9")]
    extra = '{"Net.Price":"2.55","Paid":"TRUE","Shipped":"2011-03-01T00:00:00","Tags":"[\\"a\\"]"}'
    assert rows(lines, "extra", "source_sheet", "source_row", "ingest_rule") == [(extra, "", 1, None)]


def test_doubles_are_plain_digits(spark):
    numbers = [0.0, -0.0, -7.0, 1e7, 0.000125, 100.5, 1e17, -12345678.25]
    frame = spark.createDataFrame([(number,) for number in numbers], "number double").coalesce(1)
    texts = ["0", "0", "-7", "10000000", "0.000125", "100.5", "100000000000000000", "-12345678.25"]
    assert column(frame.select(as_text(F.col("number"), DoubleType()).alias("text")), "text") == texts


def test_rows_are_numbered_within_their_file_and_columns_of_all_files_are_kept(spark, tmp_path):
    many = spark.createDataFrame([(row, *ROW[1:]) for row in range(1, 41)], DDL).coalesce(1)
    many.write.parquet(str(tmp_path / "a"))
    many.withColumnRenamed("Paid", "Settled").limit(3).write.parquet(str(tmp_path / "b"))
    lines = read_sources(spark, ingest_config(str(tmp_path / "a"), str(tmp_path / "b")))
    assert sorted(int(a) - b for a, b in rows(lines, "invoice_id", "source_row")) == [0] * 43
    assert lines.select("source_file").distinct().count() == 2
    assert lines.filter('extra like \'%"Settled":"TRUE"%\'').count() == 3


def test_a_file_that_is_no_parquet_is_a_one_line_error(spark, tmp_path):
    path = write_text(tmp_path / "notes.parquet", "just text, long enough to hold a footer")
    with pytest.raises(DataError, match=r"notes\.parquet is no Parquet file") as caught:
        read_sources(spark, ingest_config(path))
    assert "\n" not in str(caught.value)


def test_an_empty_table_is_an_error(spark, tmp_path):
    spark.createDataFrame([], DDL).coalesce(1).write.parquet(str(tmp_path / "p"))
    with pytest.raises(DataError, match="no line below the headers"):
        read_sources(spark, ingest_config(str(tmp_path / "p")))


def test_a_column_may_have_another_type_in_each_file(spark, tmp_path):
    for name, customers in {"jan": [17850, None], "feb": [17850.0, None], "mar": ["017850", None]}.items():
        write_table(tmp_path / f"{name}.parquet", CustomerID=customers)
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    assert rows(lines, "customer_id") == [("017850",), ("17850",), ("17850",), (None,), (None,), (None,)]


def test_a_file_without_a_required_column_is_named_however_many_others_have_it(spark, tmp_path):
    for name in ("jan", "feb"):
        write_table(tmp_path / f"{name}.parquet")
    write_table(tmp_path / "mar.parquet", StockCode=None)
    with pytest.raises(DataError, match=r"^mar\.parquet: no column for stock_code\."):
        read_sources(spark, ingest_config(str(tmp_path)))


def test_files_may_spell_their_headers_each_in_its_way(spark, tmp_path):
    write_table(tmp_path / "jan.parquet", InvoiceNo=["1", "2"])
    write_table(tmp_path / "feb.parquet", **{"InvoiceNo": None, "Invoice No": ["3", "4"]})
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    assert rows(lines, "invoice_id", "source_row") == [("1", 1), ("2", 2), ("3", 1), ("4", 2)]


def test_two_headers_of_one_column_in_a_file_are_an_error(spark, tmp_path):
    write_table(tmp_path / "jan.parquet", **{"Invoice No": ["3", "4"]})
    with pytest.raises(DataError, match=r"^jan\.parquet: two headers match invoice_id"):
        read_sources(spark, ingest_config(str(tmp_path)))


def test_folders_named_by_column_and_value_are_columns(spark, tmp_path):
    told = [("007", "Ri/yadh+1 50%", 2011), (None, "Jiddah", 2012)]
    source = spark.createDataFrame([(*ROW, *values) for values in told], f"{DDL}, showroom string, city string, y int")
    source.write.partitionBy("showroom", "city", "y").parquet(str(tmp_path / "p"))
    lines = read_sources(spark, ingest_config(str(tmp_path / "p")))
    found = [(row["showroom"], json.loads(row["extra"])) for row in lines.collect()]
    assert sorted((showroom or "", extra["city"], extra["y"]) for showroom, extra in found) == [
        ("", "Jiddah", "2012"),
        ("007", "Ri/yadh+1 50%", "2011"),
    ]


def test_what_a_file_says_itself_goes_before_the_name_of_its_folder(spark, tmp_path):
    folder = tmp_path / "env=prod" / "orders" / "Showroom=12" / "discount=50%"
    folder.mkdir(parents=True)
    write_table(folder / "a.parquet", showroom=["7", "8"])
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    assert rows(lines, "showroom", "extra") == [("7", '{"discount":"50%"}'), ("8", '{"discount":"50%"}')]


def test_what_is_no_number_and_cells_of_any_white_space_are_blank(spark, tmp_path):
    customers = [float("nan"), float("inf"), -float("inf"), 17850.0, None]
    names = ["\u00a0", "\t", "\u3000\u2009", "\u00a0x", ""]
    write_table(tmp_path / "a.parquet", CustomerID=customers, Description=names)
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    assert sorted(rows(lines, "source_row", "customer_id", "description")) == [
        (1, None, None),
        (2, None, None),
        (3, None, None),
        (4, "17850", "\u00a0x"),
        (5, None, None),
    ]


def test_times_in_nanoseconds_as_pandas_writes_them_are_read(spark, tmp_path):
    nanos = [1_298_980_799_600_000_001, None]  # 2011-03-01 11:59:59.6 in UTC
    for name, type_ in {"plain": pa.timestamp("ns"), "zoned": pa.timestamp("ns", tz="Asia/Riyadh")}.items():
        write_table(tmp_path / f"{name}.parquet", InvoiceDate=pa.array(nanos, type_))
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    assert rows(lines, "invoice_date", "source_row") == 2 * [("2011-03-01T12:00:00", 1)] + 2 * [(None, 2)]
