from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from recsys_spark.contracts import schemas
from recsys_spark.contracts.config import DatesConfig, IngestConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.contracts.recommend_config import EligibilityConfig, RecommendConfig
from recsys_spark.privacy.customer_ids import pseudonym
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.privacy.forgotten import Forgotten, SaltedHashes
from recsys_spark.recommendations.eligibility import item_rules, load_item_rules, read_eligibility, read_exclusions
from recsys_spark.recommendations.fitted_rules import rule_files
from recsys_spark.recommendations.rules import NUMBER_OF, RULES
from tests.ingest.workbook_files import write_workbook
from tests.support.frames import frame, rows
from tests.support.worlds import interactions

CODES = ("A1", "A2", "B 3", "كوب", "00123")
JANUARY = 1_294_099_200_000_000  # 2011-01-04, a midnight in UTC
HOUR = 3_600_000_000
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def items(spark):
    texts = [{"category": "CUPS", "brand": "X"}, {"category": "CUPS"}, {"brand": "X"}, {}, {"category": "LAMPS"}]
    every = [{"item_idx": n, "stock_code": code, **texts[n - 1]} for n, code in enumerate(CODES, 1)]
    return frame(spark, schemas.ITEMS_CLEAN, every).localCheckpoint()


@pytest.fixture(scope="module")
def customers(spark):
    every = [{"user_idx": 1, "customer_id": "01"}, {"user_idx": 2, "customer_id": "acme"}]
    return frame(spark, schemas.CUSTOMER_ID_MAP, every)


def options(path=None, unlisted="eligible", **given) -> RecommendConfig:
    return RecommendConfig(eligibility=EligibilityConfig(table=path and str(path), unlisted=unlisted), **given)


def csv(folder, text, name="stock.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def told(items, path, **given):
    """The table by item: in stock, withdrawn, first and last microsecond."""
    config = options(path, **given)
    table = read_eligibility(items.select("item_idx", "stock_code"), config, IngestConfig(), DatesConfig())
    return rows(table.orderBy("item_idx"))


def ruled(items, folder, path=None, sales=None, **given):
    """The rule that bars each of CODES, None for none, and the arrays themselves."""
    config = options(path, **given)
    spark, ids = items.sparkSession, items.select("item_idx", "stock_code")
    table = read_eligibility(ids, config, IngestConfig(), DatesConfig()) if path else None
    events = [(customer, code, day) for customer, code, day, _ in sales or []]
    bought = interactions(spark, events)
    if sales:
        prices = spark.createDataFrame(
            [(code, day, price) for _, code, day, price in sales], "c string, d int, p double"
        )
        timed = bought.withColumn(
            "d", (bought["invoice_date"].cast("date") - pd.Timestamp("2011-01-01").date()).cast("int")
        )
        bought = timed.join(prices, (timed["stock_code"] == prices["c"]) & (timed["d"] == prices["d"])).withColumn(
            "price", prices["p"]
        )
    where = folder / f"rules{len(list(folder.iterdir()))}"
    item_rules(items, config, table, bought).write.parquet(str(where))
    found = load_item_rules(str(where))
    return [RULES[number - 1] if number else None for number in found.barred[1:]], found


def test_every_kind_of_cell_is_understood(items, tmp_path):
    text = (
        "Item Code;in stock;STOCK;Withdrawn;From;To;note\n"
        "a1;yes;;;;;x\n"  # however the code is spelled
        " A2 ;;1,200;no;2011-01-04;2011-01-04;\n"
        "b  3;;٠;;;2011-01-04 09:30;\n"
        "كوب;نعم;0;نعم;04.01.2011;;\n"
        "00123;;;;;;\n"
    )
    config = IngestConfig(csv_separator=";")
    path = options(csv(tmp_path, text))
    table = read_eligibility(items.select("item_idx", "stock_code"), path, config, DatesConfig())
    assert rows(table) == [
        (1, True, None, None, None),
        (2, True, False, JANUARY, JANUARY + DAY),  # the whole day
        (3, False, None, None, JANUARY + 9 * HOUR + 30 * 60_000_000 + 1),  # that microsecond too
        (4, False, True, JANUARY, None),  # none in stock, whatever the other column says
        (5, None, None, None, None),
    ]


def test_a_workbook_and_a_parquet_table_say_the_same_as_a_csv(items, tmp_path):
    head = ["stock_code", "in_stock", "stock", "from", "to"]
    day = datetime(2011, 1, 4)
    book = write_workbook(tmp_path / "stock.xlsx", [["Stock list"], head, ["A1", True, 3, day, day], ["00123", False]])
    parquet = str(tmp_path / "stock.parquet")
    values = {
        "stock_code": ["A1", "00123"],
        "in_stock": [True, False],
        "stock": [3.0, None],
        "from": [date(2011, 1, 4), None],
        "to": [date(2011, 1, 4), None],
    }
    pd.DataFrame(values).to_parquet(parquet)
    text = csv(tmp_path, "stock_code,in_stock,stock,from,to\nA1,true,3,2011-01-04,2011-01-04\n00123,false,,,\n")
    expected = [(1, True, None, JANUARY, JANUARY + DAY), (5, False, None, None, None)]
    assert told(items, book) == told(items, parquet) == told(items, text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stock_code,in_stock\nA1,yes\nZZ9,no\nZZ8,no\n", r"names stock_code 'ZZ8', 'ZZ9', which no purchase line has"),
        ("code,in_stock\nA1,yes\n", "no column for stock_code. Headers found"),
        ("stock_code,in_stock\n", "no row below its headers"),
        ("stock_code,in_stock\nA1,maybe\n", "in_stock of stock_code 'A1' is 'maybe', expected true/yes"),
        ("stock_code,stock\nA1,lots\n", "stock of stock_code 'A1' is 'lots', expected a number"),
        ("stock_code,withdrawn\nA1,2011\n", "withdrawn of stock_code 'A1' is '2011'"),
        ("stock_code,from\nA1,soon\n", "from of stock_code 'A1' is 'soon', expected a date"),
        ("stock_code,to\nA1,31-31-2011\n", "to of stock_code 'A1' is '31-31-2011', expected a date"),
        ("stock_code,from,to\nA1,2011-02-01,2011-01-31\n", "is from 2011-02-01 to 2011-01-31, which is no time at all"),
        ("stock_code,in_stock\nA1,yes\na1,no\n", "stock_code 'A1' has 2 rows; each may have one"),
        ("stock_code,in_stock\n,yes\nA1,yes\n", "rows without stock_code: 1;"),
        ("stock_code,in_stock,available\nA1,yes,no\n", "two headers mean in_stock: 'in_stock' and 'available'"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_by_name(items, tmp_path, text, said):
    with pytest.raises(DataError, match=said) as raised:
        told(items, csv(tmp_path, text))
    assert "stock.csv" in str(raised.value)
    assert raised.value.exit_code == 3


def test_codes_without_a_sale_may_be_let_through(items, tmp_path):
    path = csv(tmp_path, "stock_code,in_stock\nA1,no\nZZ9,no\n")
    assert told(items, path, unknown_ids="ignore") == [(1, False, None, None, None)]


def test_a_table_that_is_not_there_is_a_mistake_of_the_config(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        rule_files(options(tmp_path / "no.csv"))


def test_tables_are_sources_of_the_stage(tmp_path):
    path, other = csv(tmp_path, "stock_code\n"), csv(tmp_path, "customer_id,stock_code\n", "not.csv")
    files = rule_files(options(path, customer_exclusions=str(other)))
    assert [file.rsplit("/", 1)[1] for file in files] == ["stock.csv", "not.csv"]
    assert rule_files(RecommendConfig()) == []


def test_what_the_table_bars_and_what_it_lacks(items, tmp_path):
    path = csv(tmp_path, "stock_code,in_stock,withdrawn\nA1,no,yes\nA2,no,\nB 3,,no\n")
    assert ruled(items, tmp_path, path)[0] == ["withdrawn", "out_of_stock", None, None, None]
    barred, _ = ruled(items, tmp_path, path, unlisted="barred", excluded_codes=(" a1", "b  3"))
    assert barred == ["excluded_codes", "out_of_stock", "excluded_codes", "unlisted", "unlisted"]


def test_windows_and_groups_reach_the_tasks_as_arrays(items, tmp_path):
    path = csv(tmp_path, "stock_code,from,to\nA1,2011-01-04,2011-01-05\n")
    _, rules = ruled(items, tmp_path, path)
    times = np.array([JANUARY - 1, JANUARY, JANUARY + 2 * DAY - 1, JANUARY + 2 * DAY])
    early, late = NUMBER_OF["not_yet"], NUMBER_OF["no_longer"]
    assert rules.barring(np.full(4, 1), times).tolist() == [early, 0, 0, late]
    assert rules.barring(np.full(4, 2), times).tolist() == [0, 0, 0, 0]
    category, brand = rules.category[1:], rules.brand[1:]
    assert (category[0] == category[1], category[0] == category[4], *(category[2:4] == 0)) == (True, False, True, True)
    assert (brand[0] == brand[2], *(brand[[1, 3, 4]] == 0)) == (True, True, True, True)


def test_cheap_products_are_those_whose_median_price_is_below_the_least(items, tmp_path):
    """A1 sold for 1, 9 and 9; A2 for 1, 1 and 9; the others never."""
    prices = {"A1": (1.0, 9.0, 9.0), "A2": (1.0, 1.0, 9.0)}
    sales = [("acme", code, day, price) for code, each in prices.items() for day, price in enumerate(each)]
    barred, _ = ruled(items, tmp_path, sales=sales, min_price=5.0)
    assert barred == [None, "min_price", "min_price", "min_price", "min_price"]


def test_exclusions_are_by_customer(items, customers, tmp_path):
    path = csv(tmp_path, "customer no,sku\n01,a1\n 01 ,A2\nacme,كوب\n01,A1\n")
    config = RecommendConfig(customer_exclusions=str(path))
    ids = items.select("item_idx", "stock_code")
    assert rows(read_exclusions(ids, customers, config, IngestConfig(), CustomerEntry())) == [
        ("01", [1, 2]),
        ("acme", [4]),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("customer_id,stock_code\nbell,A1\n", "names customer_id 'bell'"),
        ("customer_id,stock_code\nacme,A7\n", "names stock_code 'A7'"),
        ("customer_id\nacme\n", "no column for stock_code"),
    ],
)
def test_exclusions_of_nobody_or_of_nothing_are_refused(items, customers, tmp_path, text, said):
    config = RecommendConfig(customer_exclusions=str(csv(tmp_path, text)))
    with pytest.raises(DataError, match=said):
        read_exclusions(items.select("item_idx", "stock_code"), customers, config, IngestConfig(), CustomerEntry())


def test_exclusions_come_in_under_the_names_that_customers_go_by(items, spark, tmp_path):
    """No message shows an id that a key was to hide, and a forgotten customer is nobody's mistake."""
    key = b"a key of a test, no secret"
    named = [{"user_idx": 1, "customer_id": pseudonym(key, "71053")}]
    ids, hidden = items.select("item_idx", "stock_code"), frame(spark, schemas.CUSTOMER_ID_MAP, named)
    gone = SaltedHashes("salt", frozenset({SaltedHashes("salt").hash_of("gone")}))
    entry = CustomerEntry(key, Forgotten((gone,)))
    path = csv(tmp_path, "customer_id,stock_code\n 71053.0,A1\ngone,A2\n")
    config = RecommendConfig(customer_exclusions=str(path))
    assert rows(read_exclusions(ids, hidden, config, IngestConfig(), entry)) == [(pseudonym(key, "71053"), [1])]
    strange = RecommendConfig(customer_exclusions=str(csv(tmp_path, "customer_id,stock_code\n4711,A1\n")))
    with pytest.raises(DataError, match=f"names customer_id '{pseudonym(key, '4711')}'") as raised:
        read_exclusions(ids, hidden, strange, IngestConfig(), entry)
    assert "4711" not in str(raised.value)
