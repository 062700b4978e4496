from datetime import date, datetime, time, timedelta

import pytest

from recsys_spark.ingest.cells import cell_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (71053.0, "71053"),
        (71053, "71053"),
        (2.55, "2.55"),
        (-12.0, "-12"),
        (-0.0, "0"),
        (0.00001234, "0.00001234"),
        (12345678.9, "12345678.9"),
        (123456789012345680.0, "123456789012345680"),
        (40513.35138888889, "40513.35138888889"),
    ],
)
def test_numbers_are_plain_digits(value, text):
    assert cell_text(value) == text


@pytest.mark.parametrize("text", ["00123", " LAMP ", "C536379", "#N/A", "مصباح", "1,234.50"])
def test_texts_stay_as_they_are(text):
    assert cell_text(text) == text


@pytest.mark.parametrize(
    "blank", [None, "", " ", "\t\n", "\u00a0", "\u3000", float("nan"), float("inf"), -float("inf")]
)
def test_blank_cells_are_none(blank):
    assert cell_text(blank) is None


def test_date_and_datetime_at_midnight_are_the_same_text():
    assert cell_text(date(2010, 12, 1)) == cell_text(datetime(2010, 12, 1)) == "2010-12-01T00:00:00"


def test_times_are_rounded_to_the_second():
    assert cell_text(datetime(2010, 12, 1, 8, 25, 59, 999_000)) == "2010-12-01T08:26:00"
    assert cell_text(datetime(2010, 12, 31, 23, 59, 59, 500_000)) == "2011-01-01T00:00:00"
    assert cell_text(time(8, 26, 0, 400_000)) == "08:26:00"


def test_durations_count_their_hours():
    assert cell_text(timedelta(days=1, hours=12, seconds=5)) == "36:00:05"
    assert cell_text(timedelta(minutes=-90)) == "-01:30:00"


def test_booleans_are_written_as_a_spreadsheet_shows_them():
    assert [cell_text(True), cell_text(False)] == ["TRUE", "FALSE"]
