"""Three normalised tables, transactions with products and customers -> raw lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.cleaning.text import bare, filled, whole_number
from recsys_spark.contracts.columns import REQUIRED_COLUMNS
from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.contracts.schemas import RAW_LINES
from recsys_spark.frames import BROADCAST_ROWS
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.headers import require_columns
from recsys_spark.ingest.readers import SUFFIXES, kind_of, read_native, with_lines
from recsys_spark.ingest.source_frames import SourceFrame, shown_names, to_raw_lines
from recsys_spark.privacy.customer_ids import normal_ids
from recsys_spark.source_files import expand

PRODUCT_COLUMNS = ("description", "brand", "category")
CUSTOMER_COLUMNS = ("showroom", "sales_channel")

# What a value must look like, loosely: cleaning parses, this only tells a wrong column.
NUMBER = r"^\s*[(+-]?\s*\p{Nd}[\p{Nd}\s.,'٫٬]*([eE][+-]?\p{Nd}+)?\s*[)-]?\s*$"
# Groups of digits and words between separators, a digit among them: ISO, 3-Mar-2011, Jan-1, an Excel serial.
DATE = r"^(?=.*\p{Nd})\s*(\p{L}+|\p{Nd}{1,9})([\s.,:/T+-]+(\p{L}+|\p{Nd}{1,9}))*Z?\s*$"
_LOOKS = {"quantity": ("number", NUMBER), "line_amount": ("number", NUMBER), "invoice_date": ("date", DATE)}


def table_files(config: IngestConfig) -> list[str]:
    """The files of the given tables. Raises ConfigError for a path without a file, or with one of another format."""
    tables = config.tables
    given = {"transactions": tables.transactions, "products": tables.products, "customers": tables.customers}
    return [file for name, path in given.items() if path for file in _files(path, name, config)]


def read_tables(spark: SparkSession, config: IngestConfig, bad: BadFiles | None = None) -> DataFrame:
    """RAW_LINES: one per transaction, completed from its product and its customer.

    A line whose product or customer is in no row of the given table has the ingest_rule `orphan_product` or
    `orphan_customer`, the customer's where both are. A reference that is blank, or of marks alone, is no orphan.
    References are compared without marks and outer blanks, and number cells as the digits that they show. Raises
    DataError for a missing column, a column of the wrong type, a product or customer with two rows, and a table without
    a line. bad: takes files of transactions that cannot be read; without one of products or customers all their lines
    would be orphans, so that is an error always.
    """
    tables = config.tables
    assert tables.transactions is not None
    transactions = _sources(spark, tables.transactions, "transactions", config, bad or BadFiles())
    products = customers = None
    if tables.products:
        products = _lookup(spark, tables.products, "products", "stock_code", PRODUCT_COLUMNS, config)
    if tables.customers:
        customers = _lookup(spark, tables.customers, "customers", "customer_id", CUSTOMER_COLUMNS, config)
    elsewhere = {column for table in (products, customers) if table is not None for column in table.columns}
    for source in transactions:
        keys = ("stock_code", "customer_id")
        required = [column for column in REQUIRED_COLUMNS if column in keys or column not in elsewhere]
        require_columns(source.headers, required, config.aliases, source.where)
        _check_types(source)
    lines = reduce(DataFrame.unionByName, (to_raw_lines(source, config.totals_words) for source in transactions))
    rules = [F.col("ingest_rule")]
    if customers is not None:
        lines = _complete(lines, customers, "customer_id")
        rules.append(F.when(_is_orphan("customer_id"), "orphan_customer"))
    if products is not None:
        lines = _complete(lines, products, "stock_code")
        rules.append(F.when(_is_orphan("stock_code"), "orphan_product"))
    return lines.withColumn("ingest_rule", F.coalesce(*rules)).select(*RAW_LINES.names)


def _files(path: str, name: str, config: IngestConfig) -> list[str]:
    files = expand([path], SUFFIXES["csv"] + SUFFIXES["parquet"])
    for file in files:
        if kind_of(file, config.format) == "workbook":
            raise ConfigError(
                f"ingest.tables.{name} takes CSV or Parquet, got '{file}'; ingest.sources takes workbooks"
            )
    return files


def _sources(spark: SparkSession, path: str, name: str, config: IngestConfig, bad: BadFiles) -> list[SourceFrame]:
    files = _files(path, name, config)
    sources = with_lines(read_native(spark, files, config, bad))
    if not sources:
        raise DataError(f"{shown_names(files)} (ingest.tables.{name}): no line below the headers")
    return sources


def _lookup(
    spark: SparkSession, path: str, name: str, key: str, columns: Sequence[str], config: IngestConfig
) -> DataFrame:
    """One row per key of a table, with those of the columns that any of its files has."""
    sources = _sources(spark, path, name, config, BadFiles())
    for source in sources:
        require_columns(source.headers, (key,), config.aliases, source.where)
    held = [column for column in columns if any(column in source.headers.columns for source in sources)]
    parts = [
        source.lines.select(_spelled_once(source.text(key), key).alias(key), *(source.text(c).alias(c) for c in held))
        for source in sources
    ]
    table = reduce(DataFrame.unionByName, parts).filter(F.col(key).isNotNull())
    first_repeated = F.min(F.when(F.col("count") > 1, F.struct(key, "count")))
    facts = table.groupBy(key).count().agg(first_repeated.alias("repeated"), F.count(F.lit(1)).alias("keys")).first()
    assert facts is not None  # an aggregate without keys has one row
    repeated = facts["repeated"]
    if repeated is not None:
        secret = key == "customer_id" and config.pseudonymise_key_env is not None
        shown = f"one {key}" if secret else f"{key} '{repeated[key]}'"
        raise DataError(
            f"{sources[0].where} (ingest.tables.{name}): {shown} has {repeated['count']} rows; "
            "each may have one. Remove the others"
        )
    # Behind the join that numbers a CSV file's rows Spark cannot tell how small a table is.
    return F.broadcast(table) if facts["keys"] <= BROADCAST_ROWS else table


def _complete(lines: DataFrame, table: DataFrame, key: str) -> DataFrame:
    """Fill blank cells of the lines from a table; `_found_<key>` is null where the table lacks the key."""
    columns = [column for column in table.columns if column != key]
    renamed = table.select(F.col(key).alias(f"_found_{key}"), *(F.col(c).alias(f"_table_{c}") for c in columns))
    joined = lines.join(renamed, on=_spelled(lines[key], key) == renamed[f"_found_{key}"], how="left")
    told = {column: F.when(filled(F.col(column)).isNotNull(), F.col(column)) for column in columns}  # more than marks
    completed = {column: F.coalesce(text, f"_table_{column}") for column, text in told.items()}
    return joined.withColumns(completed).drop(*(f"_table_{column}" for column in columns))


def _spelled(value: Column, key: str) -> Column:
    """A key in its one spelling; of a product code, case and forms of letters are left to cleaning."""
    return normal_ids(value) if key == "customer_id" else whole_number(filled(value))


def _spelled_once(value: Column, key: str) -> Column:
    """`_spelled` with one mention of the value.

    A join asks for keys that are not null, and Spark takes that down to the file with all that the key is made of
    written out: thousands of mentions of the cell, more than it can compile.
    """
    return F.transform(F.array(value), lambda each: _spelled(each, key))[0]


def _is_orphan(key: str) -> Column:
    return F.col(f"_found_{key}").isNull() & filled(F.col(key)).isNotNull()


def _check_types(source: SourceFrame) -> None:
    """Raise DataError for a column in which no value at all looks like the number or date that it should be."""
    looks = {column: bare(source.text(column)).rlike(pattern) for column, (_, pattern) in _LOOKS.items()}
    if not source.lines.filter(reduce(and_, looks.values())).isEmpty():  # the first good line ends the search
        return
    for column, looks_right in looks.items():
        if source.lines.filter(looks_right).isEmpty():
            values = source.lines.select(source.text(column).alias("value")).filter("value is not null").distinct()
            examples = ", ".join(f"'{row['value']}'" for row in values.orderBy("value").take(3)) or "only blank cells"
            header = source.headers.texts[source.headers.columns[column]]
            raise DataError(
                f"{source.where}: no value of {column} (header '{header}') looks like a {_LOOKS[column][0]}: "
                f"{examples}. Is it the right column? See ingest.aliases.{column}"
            )
