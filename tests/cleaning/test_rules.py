from recsys_spark.cleaning.rules import is_non_product, label_lines
from recsys_spark.contracts.config import CleanConfig
from tests.support.frames import column
from tests.support.lines import raw_lines


def rules_of(spark, lines, config=None):
    labelled = label_lines(raw_lines(spark, lines), config or CleanConfig(), None)
    return column(labelled.orderBy("source_row"), "rule")


def test_each_line_leaves_with_the_first_rule_it_breaks(spark):
    worked = [
        ({}, None),
        ({"ingest_rule": "orphan_product", "invoice_date": "?"}, "orphan_product"),
        ({"invoice_date": "soon", "customer_id": None}, "unparsed_date"),
        ({"invoice_date": "0001-01-01 00:00:00"}, "unparsed_date"),
        ({"invoice_date": "1753-01-01"}, "unparsed_date"),
        ({"invoice_date": "1899-12-30"}, "unparsed_date"),
        ({"invoice_date": "1900-01-01T00:00:00+03:00"}, "unparsed_date"),  # 21:00 UTC of the day before
        ({"invoice_date": "31/12/1899 23:59"}, "unparsed_date"),
        ({"invoice_date": "1900-01-01"}, None),
        ({"invoice_date": "2200-12-31 23:59:59"}, None),
        ({"invoice_date": "2201-01-01"}, "unparsed_date"),
        ({"invoice_date": "9999-12-31"}, "unparsed_date"),
        ({"customer_id": " ", "stock_code": None}, "missing_customer"),
        ({"customer_id": "\u00a0\t"}, "missing_customer"),
        ({"stock_code": "  "}, "missing_stock_code"),
        ({"quantity": "NaN", "line_amount": None}, "missing_quantity"),
        ({"quantity": "0,500"}, "missing_quantity"),
        ({"line_amount": "n/a"}, "missing_amount"),
        ({"invoice_id": "C536379", "quantity": "-1"}, "return"),
        ({"invoice_id": " c536379", "quantity": "-1"}, "return"),
        ({"invoice_id": "\u00a0C536379", "quantity": "-1"}, "return"),
        ({"invoice_id": "\u200eC536379", "quantity": "-1"}, "return"),
        ({"quantity": "-1", "line_amount": "-3"}, "non_positive_quantity"),
        ({"quantity": "0"}, "non_positive_quantity"),
        ({"line_amount": "0"}, "non_positive_price"),
        ({"line_amount": "-2"}, "non_positive_price"),
    ]
    assert rules_of(spark, [line for line, _ in worked]) == [rule for _, rule in worked]


def test_every_rule_can_be_switched_off_by_name(spark):
    off = CleanConfig(rules={"return": False, "missing_customer": False, "unparsed_date": False})
    lines = [
        {"invoice_id": "C1"},
        {"customer_id": None},
        {"invoice_date": None},
        {"invoice_id": "C1", "quantity": "-1"},
    ]
    assert rules_of(spark, lines, off) == [None, None, None, "non_positive_quantity"]


def test_ids_keep_their_leading_zeros_and_codes_are_tidied(spark):
    row = label_lines(raw_lines(spark, [{"stock_code": " 0084970l "}]), CleanConfig(), None).first()
    assert (row["customer"], row["code"], row["stock_code"]) == ("00042", "0084970L", " 0084970l ")


def test_a_code_is_one_however_a_number_cell_or_a_mark_spells_it(spark):
    codes = ["71053", "71053.0", "71053\u200e", "\ufeff71053.00 ", "071053", "A1.0", "1.5"]
    labelled = label_lines(raw_lines(spark, [{"stock_code": code} for code in codes]), CleanConfig(), None)
    assert column(labelled.orderBy("source_row"), "code") == [*4 * ["71053"], "071053", "A1.0", "1.5"]


def test_only_whole_values_are_no_products(spark):
    worked = [
        ({"stock_code": "POST"}, True),
        ({"stock_code": "m"}, True),
        ({"stock_code": "M1"}, False),
        ({"description": "Coffee"}, False),  # a pattern that may match a part drops COFFEE for FEE
        ({"description": "delivery charge"}, True),
        ({"description": "SAMPLE BOX"}, False),
        ({"description": None}, False),
        ({"description": "رسوم الشحن"}, True),
    ]
    labelled = label_lines(raw_lines(spark, [line for line, _ in worked]), CleanConfig(), None)
    found = labelled.orderBy("source_row").select(is_non_product(CleanConfig()).alias("found")).collect()
    assert [row["found"] for row in found] == [expected for _, expected in worked]
