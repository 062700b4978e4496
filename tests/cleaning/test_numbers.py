from decimal import Decimal

from pyspark.sql import functions as F

from recsys_spark.cleaning.numbers import parse_decimal
from tests.support.frames import column

CASES = {
    "12": "12",
    "-12": "-12",
    "2.55": "2.55",
    " 7 ": "7",
    "1,234.50": "1234.50",
    "1,234,567": "1234567",
    "-1,234": "-1234",
    "100,500.": "100500",
    "0.500": "0.5",
    "٠٫٥": "0.5",
    "(12.00)": "-12",
    "(1,200)": "-1200",
    "12.00-": "-12",
    "١٢٣": "123",
    "١٬٢٣٤٫٥": "1234.5",
    "۱۲": "12",
    "1 234": "1234",
    "1e3": "1000",
    "\u200e12": "12",
    "\ufeff12": "12",
    "12\u00a0": "12",
    "1\u2009234": "1234",
    "\u200f١٬٢٣٤٫٥": "1234.5",
    "\u200e-12\u200e": "-12",
    "15.299999999999999": "15.3",
    "1 234 567.50": "1234567.5",
    "- 5": "-5",
    "( 1\u00a0200 )": "-1200",
    # Not guessed, not finite, no number
    "1.234,50": None,
    "12,5": None,
    "0,500": None,  # half a unit where the comma is a decimal point: no thousands begin with 0
    "-0,500": None,
    "(0,500)": None,
    "012,500": None,
    "٠٬٥٠٠": None,
    "NaN": None,
    "Infinity": None,
    "5 pcs": None,
    "12 50": None,
    "12\u00a050": None,
    "1 234 56": None,
    "1  234": None,
    "1 234,567": None,
    "0 500": None,
    "1\n234": None,  # two numbers in one cell
    "--5": None,
    "": None,
    None: None,
}


def test_numbers_are_read_in_every_form_that_people_write(spark):
    frame = spark.createDataFrame([(n, text) for n, text in enumerate(CASES)], "n int, text string")
    found = column(frame.select("n", parse_decimal(F.col("text")).alias("value")).orderBy("n"), "value")
    expected = {text: None if value is None else Decimal(value) for text, value in CASES.items()}
    assert dict(zip(CASES, found, strict=True)) == expected
