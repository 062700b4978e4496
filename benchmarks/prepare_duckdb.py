"""The stages clean, entities and sequences in SQL: what the benchmark `prepare` holds Spark against.

The same rules with the default config, and the same tables as Parquet. Ids are numbered in another order, so what is
compared is the number of rows of each table and sums that numbering does not change.
"""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path
from typing import Any

import duckdb

from recsys_spark.contracts.config import CleanConfig

_SOURCE = "source_file, source_sheet, source_row"
_CONTENT = (
    "invoice_id, stock_code, description, customer_id, invoice_date, quantity, line_amount, brand, category, "
    "showroom, sales_channel, year, extra"
)

# Python sees the texts beyond ASCII alone, as NFKC changes no other.
_SPELLED = "CREATE MACRO spelled(t) AS CASE WHEN strlen(t) = length(t) THEN t ELSE python_nfkc(t) END"

# Rules that need one line alone. `number` tells lines apart, cheaper than the three source columns.
_LABELLED = """
CREATE TEMP TABLE labelled AS
WITH typed AS (
    SELECT *, row_number() OVER () AS number,
        nullif(trim(customer_id), '') AS customer,
        nullif(upper(trim(regexp_replace(spelled(stock_code), '\\s+', ' ', 'g'))), '') AS code,
        nullif(upper(trim(regexp_replace(spelled(description), '\\s+', ' ', 'g'))), '') AS text,
        coalesce(
            try_cast(invoice_date AS TIMESTAMP),
            try_strptime(invoice_date, ['%d/%m/%Y %H:%M:%S', '%d/%m/%Y %H:%M', '%d/%m/%Y', '%d-%b-%Y', '%d.%m.%Y'])
        ) AS time,
        coalesce(
            try_cast(quantity AS DECIMAL(18,4)), try_cast(replace(quantity, ',', '') AS DECIMAL(18,4))
        ) AS units,
        coalesce(
            try_cast(line_amount AS DECIMAL(18,4)), try_cast(replace(line_amount, ',', '') AS DECIMAL(18,4))
        ) AS amount
    FROM read_parquet('{lines}')
)
SELECT *, CASE
        WHEN ingest_rule IS NOT NULL THEN ingest_rule
        WHEN time IS NULL THEN 'unparsed_date'
        WHEN customer IS NULL THEN 'missing_customer'
        WHEN code IS NULL THEN 'missing_stock_code'
        WHEN units IS NULL THEN 'missing_quantity'
        WHEN amount IS NULL THEN 'missing_amount'
        WHEN upper(trim(invoice_id)[1]) = 'C' THEN 'return'
        WHEN units <= 0 THEN 'non_positive_quantity'
        WHEN amount <= 0 THEN 'non_positive_price'
    END AS own_rule,
    coalesce(regexp_full_match(code, '{codes}', 'i'), false)
        OR coalesce(regexp_full_match(text, '{texts}', 'i'), false) AS is_non_product
FROM typed
"""

# Like Spark's clean: only lines whose key occurs again are compared and merged.
_LATE = f"""
CREATE TEMP TABLE repeated AS
SELECT customer, code, time FROM labelled WHERE own_rule IS NULL GROUP BY ALL HAVING count(*) > 1;

CREATE TEMP TABLE again AS
SELECT *, CASE
        WHEN row_number() OVER (PARTITION BY customer, code, time, {_CONTENT} ORDER BY {_SOURCE}) > 1
        THEN 'exact_duplicate' WHEN is_non_product THEN 'non_product'
    END AS rule
FROM labelled SEMI JOIN repeated USING (customer, code, time)
WHERE own_rule IS NULL;

CREATE TEMP TABLE aggregated AS
SELECT customer AS customer_id, code AS stock_code, time AS invoice_date, trim(invoice_id) AS invoice_id,
    text AS description, trim(brand) AS brand, trim(category) AS category, trim(showroom) AS showroom,
    trim(sales_channel) AS sales_channel, units AS quantity, amount AS line_amount, 1 AS num_lines
FROM labelled ANTI JOIN repeated USING (customer, code, time)
WHERE own_rule IS NULL AND NOT is_non_product
UNION ALL
SELECT customer, code, time, first(trim(invoice_id) ORDER BY {_SOURCE}), first(text ORDER BY {_SOURCE}),
    first(trim(brand) ORDER BY {_SOURCE}), first(trim(category) ORDER BY {_SOURCE}),
    first(trim(showroom) ORDER BY {_SOURCE}), first(trim(sales_channel) ORDER BY {_SOURCE}),
    sum(units), sum(amount), count(*)
FROM again WHERE rule IS NULL GROUP BY customer, code, time
"""

_REJECTED = f"""
SELECT {_CONTENT}, {_SOURCE}, rule FROM (
    SELECT *, own_rule AS rule FROM labelled WHERE own_rule IS NOT NULL
    UNION ALL BY NAME SELECT * FROM again WHERE rule IS NOT NULL
    UNION ALL BY NAME SELECT *, 'non_product' AS rule FROM labelled ANTI JOIN repeated USING (customer, code, time)
    WHERE own_rule IS NULL AND is_non_product
)
"""

_CUTOFFS = """
CREATE TEMP TABLE cutoffs AS
WITH later AS (
    SELECT invoice_date FROM aggregated
    JOIN (SELECT customer_id, min(invoice_date) AS first FROM aggregated GROUP BY ALL) USING (customer_id)
    WHERE invoice_date > first
)
SELECT quantile_disc(invoice_date, 0.6) AS fold_end, quantile_disc(invoice_date, 0.8) AS train_end,
    quantile_disc(invoice_date, 0.9) AS val_end
FROM later
"""

_BOUNDS = """
CREATE TEMP TABLE bounds AS
WITH quartiles AS (
    SELECT quantile_cont(ln(1 + quantity::DOUBLE), [0.25, 0.75]) AS q,
        quantile_cont(ln(1 + line_amount::DOUBLE / quantity::DOUBLE), [0.25, 0.75]) AS p
    FROM aggregated, cutoffs WHERE invoice_date <= train_end
)
SELECT CASE WHEN q[2] > q[1] THEN exp(q[1] - 3 * (q[2] - q[1])) - 1 END AS quantity_low,
    CASE WHEN q[2] > q[1] THEN exp(q[2] + 3 * (q[2] - q[1])) - 1 END AS quantity_high,
    CASE WHEN p[2] > p[1] THEN exp(p[1] - 3 * (p[2] - p[1])) - 1 END AS price_low,
    CASE WHEN p[2] > p[1] THEN exp(p[2] + 3 * (p[2] - p[1])) - 1 END AS price_high
FROM quartiles
"""

_INTERACTIONS = """
SELECT * EXCLUDE (quantity_before, price_moved), price_moved OR quantity <> quantity_before AS was_winsorised FROM (
    SELECT customer_id, stock_code, invoice_date, invoice_id, description, brand, category, showroom, sales_channel,
        CASE WHEN NOT coalesce(quantity < quantity_low OR quantity > quantity_high, false) THEN quantity
            WHEN quantity = floor(quantity)
            THEN greatest(least(quantity::DOUBLE, greatest(floor(quantity_high), 1)), ceil(quantity_low))::DECIMAL(18,4)
            ELSE greatest(least(quantity::DOUBLE, quantity_high), quantity_low)::DECIMAL(18,4) END AS quantity,
        quantity AS quantity_before, line_amount,
        CASE WHEN coalesce(price < price_low OR price > price_high, false)
            THEN greatest(least(price, price_high), price_low) ELSE price END AS price,
        num_lines,
        coalesce(price < price_low OR price > price_high, false) AS price_moved
    FROM (SELECT *, line_amount::DOUBLE / quantity::DOUBLE AS price FROM aggregated), bounds
)
"""

_STATISTICS = """
    count(*) AS num_interactions, sum(quantity) AS total_quantity, sum(line_amount) AS total_amount,
    min(invoice_date) AS first_time, max(invoice_date) AS last_time
"""
_ITEMS = f"""
WITH texts AS (
    SELECT stock_code, description, brand, category FROM (
        SELECT stock_code, description, brand, category, count(*) AS lines, max(invoice_date) AS latest
        FROM interactions_clean GROUP BY ALL
    )
    QUALIFY row_number() OVER (
        PARTITION BY stock_code ORDER BY lines DESC, latest DESC, description, brand, category) = 1
)
SELECT item_idx, stock_code, description, brand, category, num_customers, * EXCLUDE (item_idx, stock_code,
    description, brand, category, num_customers)
FROM item_id_map JOIN texts USING (stock_code) JOIN (
    SELECT stock_code, count(DISTINCT customer_id) AS num_customers, {_STATISTICS}
    FROM interactions_clean GROUP BY ALL
) USING (stock_code)
"""
_CUSTOMERS = f"""
WITH texts AS (
    SELECT customer_id, showroom, sales_channel FROM (
        SELECT customer_id, showroom, sales_channel, count(*) AS lines, max(invoice_date) AS latest
        FROM interactions_clean GROUP BY ALL
    )
    QUALIFY row_number() OVER (
        PARTITION BY customer_id ORDER BY lines DESC, latest DESC, showroom, sales_channel) = 1
)
SELECT * FROM customer_id_map JOIN texts USING (customer_id) JOIN (
    SELECT customer_id, count(DISTINCT stock_code) AS num_items, count(DISTINCT invoice_date) AS num_orders,
        {_STATISTICS}
    FROM interactions_clean GROUP BY ALL
) USING (customer_id)
"""

# One row per order with the customer's whole list of events and how many of them lie before the order.
_ORDERS = """
CREATE TEMP TABLE histories AS
SELECT user_idx, customer_id, list(item_idx ORDER BY invoice_date, stock_code) AS items,
    list(invoice_date ORDER BY invoice_date, stock_code) AS times
FROM interactions_clean JOIN item_id_map USING (stock_code) JOIN customer_id_map USING (customer_id)
GROUP BY ALL;

CREATE TEMP TABLE orders AS
SELECT user_idx, customer_id, event_time, basket, user_idx * 1000000 + row_number() OVER own AS query_id,
    sum(len(basket)) OVER own - len(basket) AS before
FROM (
    SELECT user_idx, customer_id, invoice_date AS event_time, list(item_idx ORDER BY stock_code) AS basket
    FROM interactions_clean JOIN item_id_map USING (stock_code) JOIN customer_id_map USING (customer_id)
    GROUP BY ALL
)
WINDOW own AS (PARTITION BY user_idx ORDER BY event_time)
"""
_WITH_HISTORY = """
    SELECT query_id, o.user_idx, o.customer_id, event_time, basket, least(before, {length})::BIGINT AS hist_len,
        list_resize([]::BIGINT[], ({length} - least(before, {length}))::BIGINT, 0)
            || items[greatest(before - {length}, 0)::BIGINT + 1 : before::BIGINT] AS history,
        list_resize([]::FLOAT[], ({length} - least(before, {length}))::BIGINT, 0)
            || [(epoch_us(event_time) - epoch_us(t)) / 86400000000 for t in
                times[greatest(before - {length}, 0)::BIGINT + 1 : before::BIGINT]]::FLOAT[] AS history_days
    FROM orders o JOIN histories h ON h.user_idx = o.user_idx, cutoffs
    WHERE before > 0 AND {within}
"""
_SEQUENCES = """
WITH histories_of_orders AS ({with_history}), firsts AS (
    SELECT customer_id, stock_code, min(invoice_date) AS first FROM interactions_clean GROUP BY ALL
)
SELECT query_id, q.user_idx, item_idx AS pos_item_idx, event_time, history, history_days, hist_len,
    line_amount::DOUBLE AS line_amount, first < event_time AS is_repeat
FROM histories_of_orders q
JOIN interactions_clean i ON i.customer_id = q.customer_id AND i.invoice_date = q.event_time
JOIN item_id_map USING (stock_code)
JOIN firsts f ON f.customer_id = i.customer_id AND f.stock_code = i.stock_code
"""
_QUERIES = """
SELECT query_id, user_idx, customer_id, event_time, history, history_days, hist_len,
    list_resize(CASE WHEN len(basket) <= 64 THEN basket
        ELSE list_sort(list_transform(list_sort([{{'h': hash(item, query_id), 'i': item}} for item in basket])[:64],
            lambda pair: pair.i)) END, 64, 0) AS positives,
    len(basket) AS num_positives
FROM ({with_history})
"""
_WITHIN = {
    "train": "event_time <= train_end",
    "val": "event_time > train_end AND event_time <= val_end",
    "test": "event_time > val_end",
}


def prepare(lines: str, out: Path, threads: int, memory: str) -> None:
    """Read the raw lines (a glob of Parquet files) and write every table of the three stages below `out`."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    config: dict[str, Any] = {"threads": threads, "memory_limit": memory, "temp_directory": str(out / "spill")}
    patterns = {
        name: "|".join(f"(?:{pattern})" for pattern in values)
        for name, values in (
            ("codes", CleanConfig().non_product_codes),
            ("texts", CleanConfig().non_product_descriptions),
        )
    }
    with duckdb.connect(config=config) as database:
        database.execute("SET preserve_insertion_order = false")
        database.create_function("python_nfkc", _nfkc, ["VARCHAR"], "VARCHAR")
        database.execute(_SPELLED)
        database.execute(_LABELLED.format(lines=lines, **patterns))
        for step in (_LATE, _CUTOFFS, _BOUNDS):
            database.execute(step)
        _write(database, out, "rejected_lines", _REJECTED)
        _keep(database, out, "interactions_clean", _INTERACTIONS)
        database.execute("DROP TABLE labelled; DROP TABLE again; DROP TABLE aggregated")
        _write(database, out, "split_cutoffs", "FROM cutoffs")
        for name, index, column in (("item", "item_idx", "stock_code"), ("customer", "user_idx", "customer_id")):
            distinct = f"(SELECT DISTINCT {column} FROM interactions_clean)"
            numbered = f"SELECT row_number() OVER (ORDER BY hash({column}), {column}) AS {index}, {column}"
            _keep(database, out, f"{name}_id_map", f"{numbered} FROM {distinct}")
        _write(database, out, "items_clean", _ITEMS)
        _write(database, out, "customers_clean", _CUSTOMERS)
        database.execute(_ORDERS)
        for split, within in _WITHIN.items():
            for name, query, length in (("sequences", _SEQUENCES, 50), ("queries", _QUERIES, 200)):
                with_history = _WITH_HISTORY.format(length=length, within=within)
                _write(database, out, f"{name}_{split}", query.format(with_history=with_history))


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _keep(database: duckdb.DuckDBPyConnection, out: Path, name: str, query: str) -> None:
    database.execute(f"CREATE TEMP TABLE {name} AS {query}")
    _write(database, out, name, f"FROM {name}")


def _write(database: duckdb.DuckDBPyConnection, out: Path, name: str, query: str) -> None:
    database.execute(f"COPY ({query}) TO '{out}/{name}.parquet' (FORMAT parquet)")
