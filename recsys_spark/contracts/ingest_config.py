"""Config of `ingest`: what is read, how, and what becomes of files and ids that must not come in as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from recsys_spark.contracts.checks import one_of, require
from recsys_spark.contracts.columns import LINE_COLUMNS


@dataclass(frozen=True, kw_only=True)
class TablesConfig:
    """Three normalised tables, used when `transactions` is given."""

    transactions: str | None = None
    products: str | None = None
    customers: str | None = None


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    sources: tuple[str, ...] = ()
    format: str = "auto"
    tables: TablesConfig = field(default_factory=TablesConfig)
    engine: str = "calamine"
    sheets: tuple[str, ...] = ("all",)
    header_search_rows: int = 20
    totals_words: tuple[str, ...] = ("total", "grand total", "sum", "الإجمالي", "المجموع")
    csv_separator: str = ","
    csv_encoding: str = "UTF-8"
    on_bad_file: str = "fail"
    max_unpacked_bytes: int = 4_294_967_296
    max_unpacked_ratio: int = 200
    pseudonymise_key_env: str | None = None
    aliases: dict[str, list[str]] = field(
        default_factory=lambda: {
            "invoice_id": ["invoice no", "invoice number", "invoice", "order id", "order no", "basket id"],
            "stock_code": ["item code", "product code", "product id", "article", "sku", "material"],
            "description": ["item name", "product name", "product", "item description", "product type"],
            "customer_id": ["customer", "customer no", "customer code", "client id", "account", "household id"],
            "invoice_date": ["date", "order date", "transaction date", "transaction timestamp", "day"],
            "quantity": ["qty", "units", "pieces", "sales quantity"],
            "line_amount": ["amount", "line total", "sales value", "net amount", "total amount", "value", "revenue"],
            "brand": ["manufacturer", "make"],
            "category": ["product category", "item group", "product group"],
            "showroom": ["store", "store id", "branch", "location"],
            "sales_channel": ["channel"],
            "year": ["fiscal year"],
        }
    )

    def __post_init__(self) -> None:
        one_of(self.format, ("auto", "workbook", "csv", "parquet", "tables"), "ingest.format")
        one_of(self.engine, ("calamine", "openpyxl"), "ingest.engine")
        require(self.header_search_rows >= 1, "ingest.header_search_rows", "at least 1", self.header_search_rows)
        require(len(self.csv_separator) == 1, "ingest.csv_separator", "one character", self.csv_separator)
        one_of(self.on_bad_file, ("fail", "skip"), "ingest.on_bad_file")
        for key in ("max_unpacked_bytes", "max_unpacked_ratio"):
            require(getattr(self, key) >= 1, f"ingest.{key}", "at least 1", getattr(self, key))
        named = self.pseudonymise_key_env
        is_name = named is None or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", named) is not None
        # Not shown: where someone wrote the key itself, it must not reach a log.
        require(is_name, "ingest.pseudonymise_key_env", "the name of an environment variable", "something else")
        for column in self.aliases:
            one_of(column, LINE_COLUMNS, "a key of ingest.aliases")
