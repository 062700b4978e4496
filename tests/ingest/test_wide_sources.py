"""Sources of many columns: their plans compile, and blank rows among them are no lines."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.contracts.config import TablesConfig
from recsys_spark.ingest.readers import read_sources
from recsys_spark.ingest.tables import read_tables
from tests.ingest.workbook_files import CSV_HEADER, CSV_LINE, NOON, ingest_config, write_text
from tests.support.frames import rows

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.mark.parametrize("width", [9, 60, 90])  # of more than 100 Spark compiles no plan as one loop
def test_a_csv_of_many_columns(spark, tmp_path, width):
    names = [f"n{at}" for at in range(width - 7)]
    ends = "," * (width - 1)
    odd = (ends, '="",=" "," "' + ends[2:], ends + "x", '"=""\u00a07"""' + ends)
    texts = (",".join((CSV_HEADER, *names)), ",".join((CSV_LINE, *names)), *odd)
    lines = read_sources(spark, ingest_config(write_text(tmp_path / "a.csv", *texts)))
    assert rows(lines, "source_row", "invoice_id") == [(2, "536365"), (5, None), (6, "\u00a07")]
    assert lines.filter(f'extra like \'%"{names[-1]}":"{names[-1]}"%\'').count() == 1
    assert f'"{names[-1]}":"{names[-1]}"' in rows(lines, "extra")[0][0]


@pytest.mark.parametrize("count", [2, 40, 90])
def test_a_parquet_file_of_many_double_columns(spark, tmp_path, count):
    columns = {name: [text, None, None] for name, text in zip(CSV_HEADER.split(","), CSV_LINE.split(","), strict=True)}
    columns |= {f"n{at}": [at + 0.5, None, None] for at in range(count)}
    columns[f"n{count - 1}"] = [39.5, float("nan"), 1.0]
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    lines = read_sources(spark, ingest_config(str(tmp_path / "a.parquet")))
    assert rows(lines, "source_row", "invoice_id") == [(1, "536365"), (3, None)]
    assert lines.filter(f'extra like \'%"n{count - 1}":"39.5"%\'').count() == 1
    assert f'"n{count - 1}":"39.5"' in rows(lines, "extra")[0][0]


def test_transactions_in_parquet_with_numbers_and_times_of_their_own_types(spark, tmp_path):
    columns = {"invoice_id": [1], "customer_id": [7.0], "stock_code": [71053.0], "invoice_date": [NOON]}
    columns |= {"quantity": [6.0], "line_amount": [15.3]} | {f"n{at}": [0.5] for at in range(34)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    products = write_text(tmp_path / "p.csv", "stock_code,description", "71053,LAMP")
    tables = TablesConfig(transactions=str(tmp_path / "t.parquet"), products=products)
    lines = read_tables(spark, ingest_config(tables=tables))
    assert rows(lines, "description", "quantity", "ingest_rule") == [("LAMP", "6", None)]


def test_transactions_of_40_columns_with_tables(spark, tmp_path):
    names = [f"n{at}" for at in range(33)]
    paths = {
        "transactions": write_text(
            tmp_path / "t.csv",
            ",".join(("invoice_id,customer_id,stock_code,description,invoice_date,quantity,line_amount", *names)),
            ",".join(("1,7,00A,,2011-03-01,6,15.3", *names)),
            "," * 39,
            ",".join(("2,8,00B,,2011-03-01,6,15.3", *names)),
        ),
        "products": write_text(tmp_path / "p.csv", "stock_code,description", "00A,LAMP"),
        "customers": write_text(tmp_path / "c.csv", "customer_id,showroom", "7,R1"),
    }
    lines = read_tables(spark, ingest_config(tables=TablesConfig(**paths)))
    found = rows(lines, "source_row", "description", "showroom", "ingest_rule")
    assert found == [(2, "LAMP", "R1", None), (4, None, None, "orphan_customer")]
