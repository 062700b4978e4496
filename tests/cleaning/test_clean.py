from __future__ import annotations

import random
from itertools import product

import pytest

from jobs.clean import run
from recsys_spark.cleaning import clean
from recsys_spark.cleaning.clean import clean_lines
from recsys_spark.cleaning.report import check_law, funnel
from recsys_spark.contracts.artifacts import CLEANING_REPORT, INTERACTIONS_CLEAN, RAW_LINES
from recsys_spark.contracts.config import CleanConfig, CoverageConfig, OutlierConfig, PipelineConfig, SplitConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.privacy.customer_ids import pseudonymised
from tests.support.frames import rows
from tests.support.lines import raw_lines
from tests.support.memory_io import MemoryIO

DATES = SplitConfig(fold_end="2011-01-10", train_end="2011-01-20", val_end="2011-01-25")
# One customer who comes again before, between and after them.
REGULAR = [{"customer_id": "R", "invoice_date": f"2011-01-{day}"} for day in ("01", "10", "20", "25", "26")]


def cleaned(spark, lines, split=DATES, **config):
    return clean_lines(raw_lines(spark, lines), CleanConfig(**config), split, MemoryIO(spark).materialise)


def rejected(result):
    return [(row["source_row"], row["rule"]) for row in result.rejected.orderBy("source_row").collect()]


def test_a_customer_is_one_however_its_id_is_spelled(spark):
    ids = ["13085", "13085.0", "13085\u00a0", "\t13085.00 ", "013085", "A1.0", "1.0.0"]
    result = cleaned(spark, [{"customer_id": text, "description": f"D{n}"} for n, text in enumerate(ids)])
    assert rows(result.interactions, "customer_id", "num_lines") == [
        ("013085", 1),
        ("1.0.0", 1),
        ("13085", 4),
        ("A1.0", 1),
    ]


def test_pseudonyms_change_the_names_of_customers_and_nothing_else(spark):
    ids = ["13085", "13085.0", "13085\u00a0", "\u00a0", "A1.0"]
    raw = raw_lines(spark, [{"customer_id": text} for text in ids])
    for named in (raw, pseudonymised(raw, b"a key of a test, no secret")):
        result = clean_lines(named, CleanConfig(), DATES, MemoryIO(spark).materialise)
        assert rows(result.interactions, "stock_code", "quantity", "num_lines") == [("A1", 2, 1), ("A1", 2, 1)]
        assert rejected(result) == [(3, "exact_duplicate"), (4, "exact_duplicate"), (5, "missing_customer")]


def test_copies_of_a_line_are_rejected_and_the_first_in_source_order_stays(spark):
    result = cleaned(
        spark,
        [
            {"source_file": "b.xlsx", "source_row": 1},
            {"source_file": "a.xlsx", "source_row": 9},
            {"source_file": "a.xlsx", "source_row": 3},
            {"source_file": "a.xlsx", "source_row": 4, "extra": '{"note": "other"}'},  # no copy: another column differs
        ],
    )
    assert rejected(result) == [(1, "exact_duplicate"), (9, "exact_duplicate")]
    assert rows(result.interactions, "quantity", "num_lines")[0][1] == 2


def test_a_value_and_the_null_beside_it_are_not_copies_of_each_other(spark):
    result = cleaned(spark, [{"brand": "X", "category": None}, {"brand": None, "category": "X"}])
    assert rejected(result) == []


def test_lines_of_one_customer_item_and_time_are_summed(spark):
    result = cleaned(
        spark,
        [
            {"quantity": "2", "line_amount": "3.50", "description": "first", "source_row": 7},
            {"quantity": "3", "line_amount": "4.00", "description": "later", "source_row": 8},
        ],
    )
    row = result.interactions.first()
    assert (float(row["quantity"]), float(row["line_amount"]), row["num_lines"]) == (5.0, 7.5, 2)
    assert row["price"] == pytest.approx(1.5)
    assert row["description"] == "FIRST"


def test_a_showroom_and_a_category_are_one_however_their_spaces_are_spelled(spark):
    lines = [
        {"showroom": "Riyadh\u00a0", "category": "\u200fTable  lamps", "invoice_id": "\u00a01\u200e"},
        {"showroom": "Riyadh", "category": "Table\u00a0lamps ", "invoice_id": "1", "stock_code": "A2"},
        {"showroom": "\u200f ", "category": None, "invoice_id": "1", "stock_code": "A3"},
        {"showroom": None, "category": "", "invoice_id": "1", "stock_code": "A3", "quantity": "9"},
    ]
    found = rows(cleaned(spark, lines).interactions, "stock_code", "invoice_id", "showroom", "category")
    assert found == [
        ("A1", "1", "Riyadh", "Table lamps"),
        ("A2", "1", "Riyadh", "Table lamps"),
        ("A3", "1", None, None),
    ]


def test_day_grain_joins_the_lines_of_a_day(spark):
    lines = [{"invoice_date": "2011-01-05T10:00:00"}, {"invoice_date": "2011-01-05T17:00:00"}]
    assert cleaned(spark, lines).interactions.count() == 2
    assert cleaned(spark, lines, date_grain="day").interactions.count() == 1


def test_non_products_leave_after_duplicates(spark):
    result = cleaned(spark, [{"stock_code": "POST"}, {"stock_code": "POST"}, {}])
    assert rejected(result) == [(2, "non_product"), (3, "exact_duplicate")]


def test_a_return_reverses_the_latest_open_purchase_before_it(spark):
    lines = [
        {"invoice_date": "2011-01-05", "invoice_id": "1"},
        {"invoice_date": "2011-01-06", "invoice_id": "2"},
        {"invoice_date": "2011-01-07", "invoice_id": "C3", "quantity": "-2", "line_amount": "-3.50"},
        {"invoice_date": "2011-01-08", "invoice_id": "4"},
        {"invoice_date": "2011-01-09", "invoice_id": "C5", "quantity": "-1", "line_amount": "-1.75"},  # other quantity
    ]
    assert rejected(cleaned(spark, lines, net_cancellations=True)) == [(3, "cancelled"), (4, "return"), (6, "return")]
    assert rejected(cleaned(spark, lines)) == [(4, "return"), (6, "return")]


def test_returns_reverse_purchases_whichever_rule_takes_them_out(spark):
    reverse = {"quantity": "-2", "line_amount": "-3.50"}
    lines = [
        {"invoice_date": "2011-01-05", "invoice_id": "1"},
        {"invoice_date": "2011-01-06", "invoice_id": "c2", **reverse},
        {"invoice_date": "2011-01-07", "invoice_id": "3"},
        {"invoice_date": "2011-01-08", "invoice_id": "4", **reverse},  # a correction of stock, no return
    ]
    found = rejected(cleaned(spark, lines, net_cancellations=True, rules={"return": False}))
    assert found == [(2, "cancelled"), (3, "non_positive_quantity"), (5, "non_positive_quantity")]


def test_a_copied_purchase_does_not_outlive_its_cancellation(spark):
    lines = [{}, {}, {"invoice_id": "C3", "quantity": "-2", "line_amount": "-3.50"}, {"stock_code": "A2"}]
    result = cleaned(spark, lines, net_cancellations=True)
    assert rejected(result) == [(2, "cancelled"), (3, "exact_duplicate"), (4, "return")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"net_cancellations": True}, True),
        ({"net_cancellations": True, "rules": {"cancelled": False}}, False),
    ],
)
def test_the_report_says_where_returns_after_a_cutoff_took_purchases_before_it(spark, options, expected):
    lines = [{"invoice_id": "1"}, {"stock_code": "A2"}]
    returned = {"invoice_id": "C9", "invoice_date": "2011-01-30", "quantity": "-2", "line_amount": "-3.50"}
    io = MemoryIO(spark).give(RAW_LINES, raw_lines(spark, [*lines, returned, *REGULAR]))
    run(io, PipelineConfig(clean=CleanConfig(**options), split=DATES))
    assert io.read_json(CLEANING_REPORT)["cancellations_saw_all_data"] is expected
    assert io.read(INTERACTIONS_CLEAN).filter("customer_id != 'R'").count() == (1 if expected else 2)


def test_dates_that_leave_a_split_empty_are_an_error(spark):
    io = MemoryIO(spark).give(RAW_LINES, raw_lines(spark, REGULAR[:-1]))
    with pytest.raises(DataError, match=r"lies after split\.val_end; the events run from 2011-01-01"):
        run(io, PipelineConfig(split=DATES))


def test_each_copy_of_a_purchase_and_of_its_return_counts_where_copies_are_kept(spark):
    copied = {"invoice_id": "C3", "quantity": "-2", "line_amount": "-3.50"}
    lines = [{}, {}, copied, copied, {"stock_code": "A2"}]
    result = cleaned(spark, lines, net_cancellations=True, rules={"exact_duplicate": False})
    assert rejected(result) == [(2, "cancelled"), (3, "cancelled"), (4, "return"), (5, "return")]


def many(quantities):
    return [{"stock_code": f"S{n}", "quantity": str(q), "line_amount": str(q)} for n, q in enumerate(quantities)]


def test_outliers_are_moved_to_their_bounds_and_money_stays(spark):
    result = cleaned(spark, many([2, 2, 2, 3, 3, 4, 100_000]), outliers=OutlierConfig(multiplier=1.0))
    top = result.interactions.filter("stock_code = 'S6'").first()
    # The quartiles of log1p are ln 3 and (ln 4 + ln 5) / 2, so the bound is exp(ln 20 - ln 3) - 1 = 5.67, whole: 5
    assert (float(top["quantity"]), float(top["line_amount"]), top["was_winsorised"]) == (5.0, 100_000.0, True)
    assert result.interactions.filter("was_winsorised").count() == 1
    assert result.outliers["columns_left_alone"] == ["price"]  # every price is 1: the IQR is 0


def test_outliers_can_be_dropped_with_all_their_source_lines(spark):
    lines = [
        *many([1, 2, 2, 3, 3, 4]),
        {"stock_code": "BIG", "quantity": "60000"},
        {"stock_code": "BIG", "quantity": "9"},
    ]
    result = cleaned(
        spark, lines, outliers=OutlierConfig(multiplier=1.0, mode="drop"), rules={"non_positive_price": True}
    )
    assert {rule for _, rule in rejected(result)} == {"outlier"}
    assert [row for row, _ in rejected(result)][-2:] == [8, 9]


def test_bounds_know_nothing_after_the_training_cutoff(spark):
    early = many([1, 2, 2, 3, 3, 4])
    late = [{**line, "invoice_date": "2011-01-24", "quantity": "9999"} for line in many([1, 1, 1, 1])]
    assert (
        cleaned(spark, early).outliers["quantity"]["high"] == cleaned(spark, early + late).outliers["quantity"]["high"]
    )


def test_rare_items_leave_before_rare_customers(spark):
    lines = [
        {"customer_id": c, "stock_code": i}
        for c, i in [("1", "A1"), ("2", "A1"), ("2", "A2"), ("3", "A2"), ("4", "A3")]
    ]
    coverage = CoverageConfig(rounds=2, min_customers_per_item=2, min_items_per_customer=2)
    result = cleaned(spark, lines, coverage=coverage)
    # A3 has one customer and goes; then 1 and 3 have too few items; then A1 and A2 have one customer each.
    assert rejected(result) == [
        (2, "rare_customer"),
        (3, "rare_item"),
        (4, "rare_item"),
        (5, "rare_customer"),
        (6, "rare_item"),
    ]


def test_coverage_that_leaves_nothing_is_an_error(spark):
    io = MemoryIO(spark).give(RAW_LINES, raw_lines(spark, REGULAR))
    with pytest.raises(DataError, match=r"clean\.coverage left no interaction"):
        run(io, PipelineConfig(clean=CleanConfig(coverage=CoverageConfig(rounds=1)), split=DATES))


def test_coverage_that_leaves_nothing_after_a_cutoff_is_an_error(spark):
    regular = [{"customer_id": c, "invoice_date": f"2011-01-0{day}"} for c in "RS" for day in range(1, 5)]
    # Most events, and all after the cutoffs by shares, are of one customer who buys what no other does.
    alone = [{"stock_code": f"B{day}", "invoice_date": f"2011-02-{day}"} for day in range(10, 28)]
    io = MemoryIO(spark).give(RAW_LINES, raw_lines(spark, [*regular, *alone]))
    coverage = CoverageConfig(rounds=1, min_customers_per_item=2, min_items_per_customer=1)
    with pytest.raises(DataError, match=r"none after split\.val_end; .*see that .* clean\.coverage leave events there"):
        run(io, PipelineConfig(clean=CleanConfig(coverage=coverage)))


def test_no_parsable_date_is_an_error_with_the_commonest_values(spark):
    with pytest.raises(DataError, match=r"no invoice date parses.*'soon', 'later'"):
        cleaned(spark, [{"invoice_date": "soon"}, {"invoice_date": "soon"}, {"invoice_date": "later"}])


def test_all_lines_rejected_is_an_error_that_counts_the_rules(spark):
    with pytest.raises(DataError, match=r"all lines were rejected: missing_customer 2, return 1"):
        cleaned(spark, [{"customer_id": None}, {"customer_id": ""}, {"invoice_id": "C1"}])


CELLS = {
    "invoice_id": ["1", "2", "C3"],
    "stock_code": ["A1", "a1 ", "B2", "POST", None],
    "customer_id": ["7", "8", None],
    "invoice_date": ["2011-01-05", "2011-01-06", "?"],
    "quantity": ["1", "2", "-1", "x"],
    "line_amount": ["1", "2", "0"],
}

LEFT_BY = {"missing_customer", "missing_stock_code", "missing_quantity", "unparsed_date", "non_product", "return"}
LEFT_BY |= {"non_positive_quantity", "non_positive_price", "exact_duplicate"}


@pytest.mark.parametrize(("mode", "net"), [("winsorize", False), ("drop", True)])
def test_every_line_is_kept_or_rejected(spark, mode, net):
    """Lines of all cells with one another, every fifth of them twice, and one of a huge quantity, in any order."""
    every = [dict(zip(CELLS, cells, strict=True)) for cells in product(*CELLS.values())]
    lines = [*every, *every[::5], {"quantity": "900000"}]
    random.Random(4).shuffle(lines)
    result = cleaned(spark, lines, net_cancellations=net, outliers=OutlierConfig(mode=mode, multiplier=0.5))
    report = funnel(len(lines), result.interactions, result.rejected, CleanConfig())
    assert report["lines_kept"] + report["lines_rejected"] == len(lines) == 1945
    assert result.rejected.select("source_row").distinct().count() == report["lines_rejected"]
    found = {rule["rule"] for rule in report["rules"] if rule["lines"]}
    assert found == LEFT_BY | ({"cancelled", "outlier"} if mode == "drop" else set())


def test_the_law_refuses_what_does_not_add_up():
    with pytest.raises(DataError, match="lines do not add up: 10 read, 8 kept, 1 rejected"):
        check_law(read=10, kept=8, rejected=1)


def test_rows_do_not_depend_on_partitions_or_on_how_repeated_keys_are_handled(spark, monkeypatch):
    lines = [
        {"stock_code": f"S{n % 7}", "customer_id": str(n % 3), "quantity": str(n % 4), "description": f"D{n}"}
        for n in range(60)
    ]
    raw = raw_lines(spark, lines)
    keep = MemoryIO(spark).materialise

    def outcome(partitions):
        result = clean_lines(raw.repartition(partitions), CleanConfig(), DATES, keep)
        return rows(result.interactions), rows(result.rejected)

    expected = outcome(1)
    assert outcome(7) == expected
    monkeypatch.setattr(clean, "BROADCAST_ROWS", 0)  # as if nearly every key repeated
    assert outcome(7) == expected
