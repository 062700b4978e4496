import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.contracts.columns import LINE_COLUMNS, REQUIRED_COLUMNS
from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.ingest.headers import find_headers, match_headers, normalise, require_columns

ALIASES = IngestConfig().aliases
ONLINE_RETAIL = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
    "LineAmount",
]


def test_headers_of_online_retail_are_known_without_a_config():
    headers = match_headers(ONLINE_RETAIL, ALIASES, "retail.xlsx", row=1)
    assert headers.columns == {
        "invoice_id": 0,
        "stock_code": 1,
        "description": 2,
        "customer_id": 6,
        "invoice_date": 4,
        "quantity": 3,
        "line_amount": 8,
    }
    assert headers.others == [("Country", 7), ("UnitPrice", 5)]


@pytest.mark.parametrize(
    "header", ["InvoiceNo", "Invoice No.", "invoice_no", "INVOICE-NO", " invoice  no ", "ＩｎｖｏｉｃｅＮｏ"]
)
def test_case_spaces_punctuation_and_width_do_not_count(header):
    assert match_headers([header], ALIASES, "x", row=1).columns == {"invoice_id": 0}


def test_arabic_headers_match_through_aliases():
    aliases = {**ALIASES, "quantity": ["الكمية"], "customer_id": ["رقم العميل"]}
    assert match_headers(["الكـــمية", "رقم_العميل"], aliases, "x", row=1).columns == {"customer_id": 1, "quantity": 0}


@given(st.sampled_from(LINE_COLUMNS), st.sampled_from(["", " ", "_", "-", "."]), st.booleans())
def test_every_column_matches_its_own_name(column, joint, upper):
    header = column.replace("_", joint)
    assert match_headers([header.upper() if upper else header], ALIASES, "x", row=1).columns == {column: 0}


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


def test_the_header_row_is_the_one_that_names_most_columns():
    rows = [["Sales of March", None], [None, None], ["Customer", "remarks"], ONLINE_RETAIL, ["536365", "x"]]
    assert find_headers(rows, ALIASES, "x").row == 4


def test_the_first_row_with_all_required_headers_counts_though_a_later_one_names_more():
    line = ["536365", "A", "LAMP", "6", "2011-03-01", "2.55", "17850", "UK", "15.3"]
    rows = [["Sales of March"], ONLINE_RETAIL, line, line, [*ONLINE_RETAIL, "Category"], [*line, "Lamps"]]
    assert find_headers(rows, ALIASES, "x").row == 2


def test_of_two_equal_header_rows_the_first_counts():
    assert find_headers([["Qty"], ["Qty"]], ALIASES, "x").row == 1


def test_a_missing_column_names_the_headers_found_and_the_nearest_alias():
    headers = find_headers([[*ONLINE_RETAIL[:6], "Custmer Nr", *ONLINE_RETAIL[7:]]], ALIASES, "retail.xlsx")
    with pytest.raises(DataError) as caught:
        require_columns(headers, REQUIRED_COLUMNS, ALIASES, "retail.xlsx")
    message = str(caught.value)
    assert message.startswith(
        "retail.xlsx: no column for customer_id. Headers found in row 1: 'InvoiceNo', 'StockCode'"
    )
    assert "Nearest to customer_id: 'Custmer Nr' (alias 'customer no')" in message
    assert "\n" not in message


def test_two_headers_for_one_column_are_both_named():
    with pytest.raises(DataError, match="two headers match quantity: 'Qty' and 'Units'"):
        match_headers(["Qty", "Units"], ALIASES, "x", row=1)


def test_of_two_equal_headers_one_must_be_renamed():
    with pytest.raises(DataError, match="'Amount' and 'amount'; rename one ") as error:
        match_headers(["Amount", "amount"], ALIASES, "x", row=1)
    assert "list in" not in str(error.value)


def test_an_alias_of_two_columns_is_refused():
    with pytest.raises(ConfigError, match="'code' stands for both"):
        match_headers(["Code"], {"stock_code": ["code"], "customer_id": ["code"]}, "x", row=1)


def test_rows_without_any_cell_hold_no_header():
    with pytest.raises(DataError, match="none of the first 2 rows has a cell"):
        find_headers([[None], []], ALIASES, "x")


def test_unnamed_and_repeated_headers_get_keys_of_their_own():
    headers = match_headers(["Note", None, "Note", "note"], {}, "x", row=1)
    assert headers.others == [("Note", 0), ("Note (3)", 2), ("column_2", 1), ("note", 3)]
