"""Column names that several modules share, and the index that stands for padding."""

from __future__ import annotations

PAD_IDX = 0

# A purchase line after its headers were mapped. The first seven are required of every source.
REQUIRED_COLUMNS = (
    "invoice_id",
    "stock_code",
    "description",
    "customer_id",
    "invoice_date",
    "quantity",
    "line_amount",
)
OPTIONAL_COLUMNS = ("brand", "category", "showroom", "sales_channel", "year")
LINE_COLUMNS = REQUIRED_COLUMNS + OPTIONAL_COLUMNS

# Where a line came from; the three order all lines of a run.
SOURCE_COLUMNS = ("source_file", "source_sheet", "source_row")

# One row of interactions_clean per ...
INTERACTION_KEY = ("customer_id", "stock_code", "invoice_date")

SPLITS = ("train", "val", "test")
ALL_ITEMS, FIRST_PURCHASE = "all_items", "first_purchase"
LIST_PROTOCOLS = (ALL_ITEMS, FIRST_PURCHASE)
LIST_LENGTH = 100  # items kept of every ranking
K_VALUES = (5, 10, 20, 50, 100)
