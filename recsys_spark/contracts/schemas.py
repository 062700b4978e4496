"""Every table artifact, declared once: columns, types, meaning and grain.

`Table.ddl` creates frames and checks reads; trainers take dtypes and lengths from the same columns.
"""

from __future__ import annotations

from dataclasses import dataclass

MONEY = "decimal(18,4)"  # source currency; decimal, so that sums do not depend on the order of rows


@dataclass(frozen=True)
class Column:
    """One column. `length` names the config key that fixes the length of an array."""

    name: str
    type: str
    meaning: str
    length: str | None = None


@dataclass(frozen=True)
class Table:
    """A table's columns and grain: the columns that tell its rows apart."""

    grain: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def ddl(self) -> str:
        """The schema as Spark DDL.

        >>> Table(grain=("a",), columns=(Column("a", "bigint", "an id"),)).ddl
        'a bigint'
        """
        return ", ".join(f"{column.name} {column.type}" for column in self.columns)


_SOURCE = (
    Column("source_file", "string", "path of the file that the line came from"),
    Column("source_sheet", "string", "sheet of a workbook, empty for other formats"),
    Column("source_row", "bigint", "row in the sheet or file, counted from 1 as a spreadsheet shows it"),
)
_LINE_TEXTS = tuple(
    Column(name, "string", meaning)
    for name, meaning in (
        ("invoice_id", "invoice, as the source shows it"),
        ("stock_code", "product code"),
        ("description", "product text"),
        ("customer_id", "customer, as the source shows it"),
        ("invoice_date", "date cell as ISO text, else the text of the source"),
        ("quantity", "units"),
        ("line_amount", "money of the line, source currency"),
        ("brand", "optional"),
        ("category", "optional"),
        ("showroom", "optional"),
        ("sales_channel", "optional"),
        ("year", "optional; completes month-day dates"),
    )
)
_EXTRA = Column("extra", "string", "the source's other columns as one JSON object")

RAW_LINES = Table(
    grain=("source_file", "source_sheet", "source_row"),
    columns=(
        *_LINE_TEXTS,
        _EXTRA,
        *_SOURCE,
        Column("ingest_rule", "string", "why ingest already rejects the line, else null"),
    ),
)

REJECTED_LINES = Table(
    grain=("source_file", "source_sheet", "source_row"),
    columns=(
        *_LINE_TEXTS,
        _EXTRA,
        *_SOURCE,
        Column("rule", "string", "the first rule that the line breaks"),
    ),
)

_ITEM_TEXTS = (
    Column("description", "string", "cleaned product text"),
    Column("brand", "string", "null where the source has none"),
    Column("category", "string", "null where the source has none"),
)
_CUSTOMER_TEXTS = (
    Column("showroom", "string", "null where the source has none"),
    Column("sales_channel", "string", "null where the source has none"),
)

INTERACTIONS_CLEAN = Table(
    grain=("customer_id", "stock_code", "invoice_date"),
    columns=(
        Column("customer_id", "string", "customer as the source shows it"),
        Column("stock_code", "string", "cleaned product code"),
        Column("invoice_date", "timestamp", "UTC time at clean.date_grain"),
        Column("invoice_id", "string", "invoice of the first source line"),
        *_ITEM_TEXTS,
        *_CUSTOMER_TEXTS,
        Column("quantity", MONEY, "units, summed over the lines, then winsorised"),
        Column("line_amount", MONEY, "money, summed over the lines, as the source says"),
        Column("price", "double", "money per unit, sum over sum, then winsorised"),
        Column("num_lines", "bigint", "source lines in this row"),
        Column("was_winsorised", "boolean", "quantity or price was moved to its bound"),
    ),
)

_STATISTICS = (
    Column("num_interactions", "bigint", "rows of interactions_clean"),
    Column("total_quantity", "decimal(28,4)", "units over all data"),
    Column("total_amount", "decimal(28,4)", "money over all data"),
    Column("first_time", "timestamp", "UTC time of the first event"),
    Column("last_time", "timestamp", "UTC time of the last event"),
)

ITEMS_CLEAN = Table(
    grain=("item_idx",),
    columns=(
        Column("item_idx", "bigint", "dense item index, 1..num_items"),
        Column("stock_code", "string", "cleaned product code"),
        *_ITEM_TEXTS,
        Column("num_customers", "bigint", "distinct customers over all data"),
        *_STATISTICS,
    ),
)

CUSTOMERS_CLEAN = Table(
    grain=("user_idx",),
    columns=(
        Column("user_idx", "bigint", "dense user index, 1..num_users"),
        Column("customer_id", "string", "customer as the source shows it"),
        *_CUSTOMER_TEXTS,
        Column("num_items", "bigint", "distinct items over all data"),
        Column("num_orders", "bigint", "distinct times over all data"),
        *_STATISTICS,
    ),
)

ITEM_ID_MAP = Table(
    grain=("item_idx",),
    columns=(
        Column("item_idx", "bigint", "dense item index, 1..num_items"),
        Column("stock_code", "string", "cleaned product code"),
    ),
)

CUSTOMER_ID_MAP = Table(
    grain=("user_idx",),
    columns=(
        Column("user_idx", "bigint", "dense user index, 1..num_users"),
        Column("customer_id", "string", "customer as the source shows it"),
    ),
)

SEQUENCES = Table(
    grain=("query_id", "pos_item_idx"),
    columns=(
        Column("query_id", "bigint", "user_idx * 1,000,000 + number of the customer's order"),
        Column("user_idx", "bigint", "dense user index"),
        Column("pos_item_idx", "bigint", "item_idx of the positive"),
        Column("event_time", "timestamp", "UTC time of the positive"),
        Column("history", "array<bigint>", "item_idx, oldest first, left-padded with 0", length="sequences.hist_max"),
        Column("history_days", "array<float>", "days before event_time, same padding", length="sequences.hist_max"),
        Column("hist_len", "bigint", "items in history, padding not counted"),
        Column("line_amount", "double", "money of the positive, source currency"),
        Column("is_repeat", "boolean", "the customer bought the item strictly earlier"),
    ),
)

QUERIES = Table(
    grain=("query_id",),
    columns=(
        Column("query_id", "bigint", "user_idx * 1,000,000 + number of the customer's order"),
        Column("user_idx", "bigint", "dense user index"),
        Column("customer_id", "string", "customer as the source shows it"),
        Column("event_time", "timestamp", "UTC time of the basket"),
        Column("history", "array<bigint>", "item_idx, oldest first, left-padded with 0", length="queries.hist_max"),
        Column("history_days", "array<float>", "days before event_time, same padding", length="queries.hist_max"),
        Column("hist_len", "bigint", "items in history, padding not counted"),
        Column(
            "positives",
            "array<bigint>",
            "item_idx of the basket, right-padded with 0",
            length="queries.max_positives",
        ),
        Column("num_positives", "bigint", "items in the basket, those cut from positives included"),
    ),
)

ITEM_POPULARITY = Table(
    grain=("item_idx",),
    columns=(
        Column("item_idx", "bigint", "an eligible item: one with an event up to the cutoff"),
        Column("num_events", "bigint", "interactions up to the cutoff"),
        Column("num_recent_events", "bigint", "of these within baselines.recent_days before the cutoff"),
    ),
)

RANKINGS = Table(
    grain=("query_id", "protocol"),
    columns=(
        Column("query_id", "bigint", "the query that was ranked"),
        Column("customer_id", "string", "customer as the source shows it"),
        Column("event_time", "timestamp", "UTC time of the query"),
        Column("protocol", "string", "all_items | first_purchase"),
        Column("stock_codes", "array<string>", "top 100, best first"),
        Column("num_scored", "int", "how many of the first the model has scored; behind them stand popular items"),
    ),
)

POSITIVE_RANKS = Table(
    grain=("query_id", "pos_item_idx", "protocol"),
    columns=(
        Column("query_id", "bigint", "the query"),
        Column("user_idx", "bigint", "dense user index"),
        Column("pos_item_idx", "bigint", "item_idx of the positive"),
        Column("protocol", "string", "all_items | first_purchase | masked_seen"),
        Column("rank", "int", "rank from 1, null beyond 100 or where the list lacks it"),
    ),
)

REASON_FACTS = {  # by name; what says nothing of the kind of reason is null
    "times_bought": "bigint",  # orders of the customer with the item; repeat
    "days_ago": "bigint",  # whole days since the last of them; repeat
    "gap_days": "double",  # mean days between them, null below two; repeat
    "own_stock_code": "string",  # a product of the customer's; bought_together, similar
    "own_description": "string",
    "own_days_ago": "bigint",  # whole days since the customer last bought it
    "other_customers": "bigint",  # who bought both; bought_together
    "other_baskets": "bigint",  # of theirs that held both; bought_together
    "similarity": "double",  # of both, a cosine; similar
    "category": "string",  # of the item; popular_in_category
    "category_rank": "bigint",  # of the item among those of its category by recent sales; popular_in_category
    "category_times": "bigint",  # purchases of the customer in it; popular_in_category
    "num_events": "bigint",  # purchases of the item by all customers; popular_in_category, popular
    "num_customers": "bigint",  # who made them
    "recent_days": "bigint",  # days before the moment in which they lie; null for all time
}

RECOMMENDATIONS = Table(
    grain=("customer_id", "rank"),
    columns=(
        Column("customer_id", "string", "customer as the source shows it"),
        Column("rank", "int", "from 1"),
        Column("stock_code", "string", "recommended product"),
        Column("description", "string", "its text in the catalogue"),
        Column("score", "double", "of the model, which may order new products and repeats each; see rank"),
        Column("reason", "string", "why, in words"),
        Column("reason_kind", "string", "repeat | bought_together | similar | popular_in_category | popular"),
        Column(
            "reason_facts",
            f"struct<{','.join(f'{name}:{type_}' for name, type_ in REASON_FACTS.items())}>",
            "what the reason rests on, all of it before the moment",
        ),
        Column("model", "string", "the model that ranked the item"),
        Column(
            "sources",
            "string",
            "of two stages: the sources that proposed it, each with its rank there; of segment "
            "popularity: the kinds of segments; else null",
        ),
        Column("source_ranks", "array<struct<source:string,rank:int>>", "the same as data, best first"),
    ),
)
