from datetime import date

from pyspark.sql import functions as F

from recsys_spark.cleaning.dates import parse_date
from recsys_spark.contracts.config import DatesConfig
from tests.support.frames import column

CASES = {
    "2010-12-01T08:26:00": "2010-12-01 08:26:00",
    "2010-12-01 08:26": "2010-12-01 08:26:00",
    "2010-12-01": "2010-12-01 00:00:00",
    " 2010-12-01 ": "2010-12-01 00:00:00",
    "2010-12-01T08:26:00+03:00": "2010-12-01 05:26:00",  # an offset is honoured: all times are UTC
    "2010-1-5": "2010-01-05 00:00:00",
    "2010-1-5 8:26": "2010-01-05 08:26:00",
    "2010-1-15 08:26:30": "2010-01-15 08:26:30",
    "2010-10-5T8:26": "2010-10-05 08:26:00",
    "2010-1-5T08:26:00Z": "2010-01-05 08:26:00",
    "2010-1-5 8:26:00 GMT+3": "2010-01-05 05:26:00",
    "٢٠١٠-١-٥ ٨:٢٦": "2010-01-05 08:26:00",
    "20101201": "2010-12-01 00:00:00",
    "1/12/2010 8:26": "2010-12-01 08:26:00",
    "01/12/2010 08:26:30": "2010-12-01 08:26:30",
    "1/12/2010": "2010-12-01 00:00:00",
    "1.12.2010 8:26": "2010-12-01 08:26:00",
    "01.12.2010 08:26:30": "2010-12-01 08:26:30",
    "1-12-2010": "2010-12-01 00:00:00",
    "01-12-2010 08:26": "2010-12-01 08:26:00",
    "1-Dec-2010": "2010-12-01 00:00:00",
    "1.12.2010": "2010-12-01 00:00:00",
    "٢٠١٠-١٢-٠١": "2010-12-01 00:00:00",
    "٢٠١٠-١٢-٠١ ٠٨:٢٦:٠٠": "2010-12-01 08:26:00",
    "۲۰۱۰-۱۲-۰۱T۰۸:۲۶:۰۰+۰۳:۰۰": "2010-12-01 05:26:00",
    "1/12/2010\u00a0": "2010-12-01 00:00:00",
    "\t1/12/2010": "2010-12-01 00:00:00",
    "\u200f1/12/2010": "2010-12-01 00:00:00",
    "1\u200f/12\u200f/2010": "2010-12-01 00:00:00",  # as Excel shows dates in Arabic locales
    "1/12/2010\u00a08:26": "2010-12-01 08:26:00",
    "\ufeff2010-12-01": "2010-12-01 00:00:00",
    "٤٠٥١٣٫٥": "2010-12-01 12:00:00",
    "40513": "2010-12-01 00:00:00",  # Excel's number of that day in the 1900 system
    "40513.351389": "2010-12-01 08:26:00",  # 30360.0 seconds after midnight, rounded to the second
    "2010-12-01T08:26:00Z": "2010-12-01 08:26:00",
    "2010-12-01 08:26:00.123 UTC": "2010-12-01 08:26:00",
    "2010-12-01 08:26:00 GMT+3": "2010-12-01 05:26:00",
    "2010-12-01 08:26:00-0500": "2010-12-01 13:26:00",
    # No date, and none is made of it
    "2010-12-01 08:26:00 BST": None,  # British summer time, or Bangladesh's?
    "2010-12-01 8:26AST": None,
    "2010-1-5 8:26:00 BST": None,
    "2010-1-5 8:26AST": None,
    "2010-1-": None,
    "2010-1-50": None,
    "1/12/2010 8:26 AM": None,
    "2010-12-01T08:26:00[Europe/London]": None,
    "2010-12-01 08:26:00 Etc/GMT+3": None,
    "12:30": None,
    "2010": None,
    "2010-12": None,
    "13/13/2010": None,
    "2011-02-29": None,
    "31/02/2011": None,
    "Jan-1": None,  # no year
    "Total": None,
    "": None,
    None: None,
}


def parsed(spark, texts, config=None, year=None):
    frame = spark.createDataFrame([(n, text, year) for n, text in enumerate(texts)], "n int, text string, year string")
    time = parse_date(F.col("text"), F.col("year"), config or DatesConfig())
    shown = frame.select("n", F.date_format(time, "yyyy-MM-dd HH:mm:ss").alias("time"))
    return column(shown.orderBy("n"), "time")


def test_dates_are_read_in_every_form_that_exports_hold(spark):
    assert dict(zip(CASES, parsed(spark, CASES), strict=True)) == CASES


def test_month_day_tokens_are_completed_with_the_year_of_their_row(spark):
    tokens = {
        "Jan-1": "2011-01-01 00:00:00",
        "1-Jan": "2011-01-01 00:00:00",
        "January 21": "2011-01-21 00:00:00",
        "JANUARY 21": "2011-01-21 00:00:00",
        "21\u00a0january": "2011-01-21 00:00:00",
        "may.5": "2011-05-05 00:00:00",
        "Sept 7": "2011-09-07 00:00:00",
        "7/September": "2011-09-07 00:00:00",
        "Feb-29": None,
        "Foo-1": None,
        "Jan-32": None,
        "Marble 5": None,
        "Decor-12": None,
        "3 Mayo": None,
    }
    assert dict(zip(tokens, parsed(spark, tokens, year="2011"), strict=True)) == tokens


def test_every_month_has_its_name_and_its_short_one(spark):
    names = [date(2011, month, 1).strftime("%B") for month in range(1, 13)]
    expected = [f"2011-{month:02d}-04 00:00:00" for month in range(1, 13)]
    for spelled in (names, [name[:3] for name in names], [name.upper() for name in names]):
        assert parsed(spark, [f"{name} 4" for name in spelled], year="2011") == expected


def test_month_day_tokens_fall_back_to_the_default_year(spark):
    assert parsed(spark, ["Feb-29"], DatesConfig(default_year=2012)) == ["2012-02-29 00:00:00"]
    assert parsed(spark, ["Jan-1"], DatesConfig(default_year=2012), year="2011") == ["2011-01-01 00:00:00"]


def test_the_default_year_stands_in_for_a_blank_year_alone(spark):
    years = {
        "٢٠٢١": "2021-01-01 00:00:00",
        "۲۰۲۱": "2021-01-01 00:00:00",
        "2021\u200f": "2021-01-01 00:00:00",
        " 2021 ": "2021-01-01 00:00:00",
        "2021.0": "2021-01-01 00:00:00",
        "FY2021": None,
        "2o21": None,
        "1899": None,
        "": "2020-01-01 00:00:00",
        "  ": "2020-01-01 00:00:00",
        None: "2020-01-01 00:00:00",
    }
    found = {year: parsed(spark, ["Jan-1"], DatesConfig(default_year=2020), year)[0] for year in years}
    assert found == years


def test_tokens_can_mean_month_and_year(spark):
    assert parsed(spark, ["Jan-21"], DatesConfig(token_means="year")) == ["2021-01-01 00:00:00"]


def test_serials_of_the_1904_system_are_four_years_and_a_day_later(spark):
    assert parsed(spark, ["39051"], DatesConfig(system=1904)) == ["2010-12-01 00:00:00"]  # 40513 - 1462
