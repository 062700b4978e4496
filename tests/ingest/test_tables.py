import pytest

from recsys_spark.contracts.config import TablesConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.ingest.tables import DATE, NUMBER, read_tables, table_files
from tests.ingest.workbook_files import HEADERS, LINE, ingest_config, write_text, write_workbook
from tests.support.frames import column, rows

TRANSACTIONS = "invoice_id,customer_id,stock_code,invoice_date,quantity,line_amount,discount"
PRODUCTS = ("product_id,product_type,brand,product_category,weight", "00A,LAMP,ACME,LIGHT,2", "00B,CHAIR,,,5")
CUSTOMERS = ("household_id,store,age", "7,R1,40", "8,,")


@pytest.fixture
def read(spark, tmp_path):
    """Read these transactions with the two tables; None leaves a table out."""

    def read_lines(*transactions, header=TRANSACTIONS, products=PRODUCTS, customers=CUSTOMERS):
        paths = {"transactions": write_text(tmp_path / "transactions.csv", header, *transactions)}
        for name, lines in (("products", products), ("customers", customers)):
            if lines is not None:
                paths[name] = write_text(tmp_path / f"{name}.csv", *lines)
        return read_tables(spark, ingest_config(tables=TablesConfig(**paths)))

    return read_lines


def test_lines_are_completed_from_their_product_and_customer(read):
    lines = read("1,7,00A,2011-03-01,6,15.3,0.5", "2,8,00B,2011-03-02,1,2,")
    texts = rows(lines, "invoice_id", "stock_code", "description", "brand", "category", "showroom", "extra")
    assert texts == [
        ("1", "00A", "LAMP", "ACME", "LIGHT", "R1", '{"discount":"0.5"}'),
        ("2", "00B", "CHAIR", None, None, None, None),
    ]
    assert rows(lines, "source_row", "ingest_rule") == [(2, None), (3, None)]


@pytest.mark.usefixtures("compiled")
def test_plans_of_three_csv_files_are_small_enough_to_compile(read):
    lines = read("1,7,00A,2011-03-01,6,15.3,0.5", "2,9,00B,2011-03-02,1,2,")
    assert rows(lines, "invoice_id", "description", "showroom", "ingest_rule") == [
        ("1", "LAMP", "R1", None),
        ("2", "CHAIR", None, "orphan_customer"),
    ]


def test_what_the_transactions_say_goes_before_the_tables(read):
    header = TRANSACTIONS.replace("discount", "description")
    lines = read("1,7,00A,2011-03-01,6,15.3,old lamp", "2,7,00A,2011-03-01,6,15.3,\u200f ", header=header)
    assert rows(lines, "invoice_id", "description", "extra") == [("1", "old lamp", None), ("2", "LAMP", None)]


def test_orphans_stay_with_a_rule_and_blank_references_are_none(read):
    lines = read(
        "1,7,00X,2011-03-01,6,15.3,",
        "2,9,00A,2011-03-01,6,15.3,",
        "3,9,00X,2011-03-01,6,15.3,",
        "4,,00A,2011-03-01,6,15.3,",
        "5,7,,2011-03-01,6,15.3,",
        "6, 7 , 00A,2011-03-01,6,15.3,",
        "7,7.0,00A,2011-03-01,6,15.3,",
        "8,\u200f,\u200e,2011-03-01,6,15.3,",
    )
    assert rows(lines, "invoice_id", "ingest_rule") == [
        ("1", "orphan_product"),
        ("2", "orphan_customer"),
        ("3", "orphan_customer"),
        ("4", None),
        ("5", None),
        ("6", None),
        ("7", None),
        ("8", None),
    ]


def test_products_are_found_however_a_number_cell_or_a_mark_spells_their_code(read):
    products = ("stock_code,description", "71053,LAMP", "84406.0,BELL")
    codes = ["71053.0", "71053\u200e", "\u00a084406", "071053"]
    lines = read(
        *(f"{n},7,{code},\u200e2011-03-01,\u200e6,\u200e1," for n, code in enumerate(codes)),
        products=products,
        customers=None,
    )
    found = rows(lines, "invoice_id", "description", "ingest_rule")
    assert found == [("0", "LAMP", None), ("1", "LAMP", None), ("2", "BELL", None), ("3", None, "orphan_product")]


def test_leading_zeros_tell_products_apart(read):
    products = ("stock_code,description", "0A,BELL", "00A,LAMP")
    assert rows(read("1,7,0A,2011-03-01,6,1,", products=products, customers=None), "description", "ingest_rule") == [
        ("BELL", None)
    ]


def test_both_tables_may_be_left_out(read):
    header = TRANSACTIONS.replace("discount", "description")
    lines = read("1,9,00X,2011-03-01,6,15.3,LAMP", header=header, products=None, customers=None)
    assert rows(lines, "description", "ingest_rule") == [("LAMP", None)]


def test_a_required_column_must_be_in_one_of_the_tables(read):
    with pytest.raises(DataError, match=r"transactions\.csv: no column for description\."):
        read("1,9,00X,2011-03-01,6,15.3,", products=None)
    with pytest.raises(DataError, match=r"products\.csv: no column for stock_code\."):
        read("1,9,00X,2011-03-01,6,15.3,", products=("code,description", "00A,LAMP"))


@pytest.mark.parametrize(
    ("table", "lines", "message"),
    [
        ("products", (*PRODUCTS, " 00A,LAMP,,,"), r"products\.csv .*: stock_code '00A' has 2 rows"),
        ("customers", (*CUSTOMERS, "7,R2,", "7,R3,"), r"customers\.csv .*: customer_id '7' has 3 rows"),
    ],
)
def test_a_repeated_key_is_named(read, table, lines, message):
    with pytest.raises(DataError, match=message):
        read("1,7,00A,2011-03-01,6,15.3,", **{table: lines})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,7,00A,2011-03-01,six,15.3,", r"no value of quantity \(header 'quantity'\) looks like a number: 'six'"),
        ("1,7,00A,2011-03-01,2011-03-01,15.3,", "no value of quantity .* looks like a number: '2011-03-01'"),
        ("1,7,00A,2011-03-01,6,,", "no value of line_amount .* looks like a number: only blank cells"),
        ("1,7,00A,SKU1,6,15.3,", "no value of invoice_date .* looks like a date: 'SKU1'"),
    ],
)
def test_a_column_of_the_wrong_type_is_named_with_examples(read, line, message):
    with pytest.raises(DataError, match=message):
        read(line, line, products=None, customers=None, header=TRANSACTIONS.replace("discount", "description"))


def test_numbers_and_dates_of_every_spelling_are_recognised(spark):
    numbers = ["6", "-6", "(12.00)", "1,234.50", "٦", "1E3", " 7 ", "12-"]
    dates = ["2011-03-01T12:00:00Z", "01/03/2011 12:00", "Jan-1", "3-Mar-2011", "40513.35", "1 مارس 2011"]
    neither = ["SKU1", "six", "", "A-B", "-"]
    texts = spark.createDataFrame([(text,) for text in numbers + dates + neither], "text string")
    assert set(numbers) <= set(column(texts.filter(texts["text"].rlike(NUMBER)), "text"))
    assert set(dates) <= set(column(texts.filter(texts["text"].rlike(DATE)), "text"))
    assert texts.filter(
        texts["text"].isin(neither) & (texts["text"].rlike(NUMBER) | texts["text"].rlike(DATE))
    ).isEmpty()
    assert texts.filter(texts["text"].isin(dates[:4]) & texts["text"].rlike(NUMBER)).isEmpty()


def test_one_value_of_the_right_type_is_enough(read):
    assert read("1,7,00A,today,six,free,", "2,7,00A,2011-03-01,6,15.3,", customers=None).count() == 2


def test_a_table_of_headers_only_is_an_error(read):
    with pytest.raises(DataError, match=r"products\.csv \(ingest\.tables\.products\): no line below the headers"):
        read("1,7,00A,2011-03-01,6,15.3,", products=PRODUCTS[:1])
    with pytest.raises(DataError, match=r"transactions\.csv \(ingest\.tables\.transactions\): no line"):
        read()


def test_parquet_and_csv_tables_mix(spark, tmp_path):
    spark.createDataFrame([("00A", "LAMP")], "stock_code string, description string").write.parquet(str(tmp_path / "p"))
    path = write_text(tmp_path / "t.csv", TRANSACTIONS, "1,7,00A,2011-03-01,6,15.3,")
    tables = TablesConfig(transactions=path, products=str(tmp_path / "p"))
    assert rows(read_tables(spark, ingest_config(tables=tables)), "description") == [("LAMP",)]


def test_a_workbook_is_no_table(tmp_path):
    path = write_workbook(tmp_path / "t.xlsx", [HEADERS, LINE])
    with pytest.raises(ConfigError, match=r"ingest\.tables\.transactions takes CSV or Parquet"):
        table_files(ingest_config(tables=TablesConfig(transactions=path)))
