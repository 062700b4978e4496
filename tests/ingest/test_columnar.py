from datetime import date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType

from recsys_spark.contracts.errors import DataError
from recsys_spark.ingest.columnar import as_text
from recsys_spark.ingest.readers import read_sources
from tests.ingest.workbook_files import ingest_config, write_text
from tests.support.frames import column, rows

DDL = (
    "InvoiceNo bigint, StockCode double, Description string, CustomerID decimal(12,2), InvoiceDate timestamp, "
    "Quantity float, LineAmount double, `Net.Price` decimal(10,4), Shipped date, Paid boolean, Tags array<string>"
)
ROW = (
    *(536365, 71053.0, " ", Decimal("17850.00"), datetime(2011, 3, 1, 11, 59, 59, 600_000), 2.55, 12345678.9),
    *(Decimal("2.5500"), date(2011, 3, 1), True, ["a"]),
)


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


def test_a_column_whose_type_differs_between_files_is_a_one_line_error(spark, tmp_path):
    spark.createDataFrame([ROW], DDL).write.parquet(str(tmp_path / "a"))
    spark.createDataFrame([ROW], DDL).withColumn("InvoiceNo", F.lit("C1")).write.parquet(str(tmp_path / "b"))
    with pytest.raises(DataError, match=r"cannot be read as Parquet: \[CANNOT_MERGE.*BIGINT") as caught:
        read_sources(spark, ingest_config(str(tmp_path)))
    assert "\n" not in str(caught.value)
