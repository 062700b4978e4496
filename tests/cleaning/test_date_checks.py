import logging
from datetime import date, timedelta

import pytest

from jobs.clean import run
from recsys_spark.cleaning.clean import clean_lines
from recsys_spark.cleaning.date_checks import late_dates
from recsys_spark.contracts.artifacts import CLEANING_REPORT, RAW_LINES, REJECTED_LINES
from recsys_spark.contracts.config import CleanConfig, DatesConfig, PipelineConfig, SplitConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from tests.support.frames import column
from tests.support.lines import raw_lines
from tests.support.memory_io import MemoryIO
from tests.support.worlds import interactions

CUTOFFS = SplitConfig(fold_end="2011-01-10", train_end="2011-01-20", val_end="2011-01-25")


def days_of(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def cleaned(spark, texts, **config):
    lines = [{"invoice_date": text} for text in texts]
    return clean_lines(raw_lines(spark, lines), CleanConfig(**config), CUTOFFS, MemoryIO(spark).materialise)


@pytest.mark.parametrize(
    ("formats", "form"), [((), "{d.month}/{d.day}/{d.year}"), (("M/d/yyyy",), "{d.day}.{d.month}.{d.year}")]
)
def test_an_export_with_day_and_month_in_the_other_order_is_an_error(spark, formats, form):
    texts = [form.format(d=day) for day in days_of(date(2010, 12, 1), 62)]  # 38 of the days are above 12
    dates = DatesConfig(formats=("M.d.yyyy",)) if formats else DatesConfig()
    first = "day" if formats else "month"
    with pytest.raises(DataError, match=rf"38 of 62 dates .* only with the {first} first.*Set clean\.dates\.formats"):
        cleaned(spark, texts, dates=dates)


def test_a_few_dates_of_the_other_order_are_warned_of(spark, caplog):
    texts = [f"{day.day}/{day.month}/{day.year}" for day in days_of(date(2011, 1, 1), 30)] + ["1/13/2011"]
    with caplog.at_level(logging.WARNING, logger="recsys"):
        assert cleaned(spark, texts).rejected.count() == 1
    assert "1 of 31 dates" in caplog.text


@pytest.mark.parametrize("text", ["13.12.2010 08:26", "12/13/2010 8:26 AM", "13-12-2010"])
def test_the_order_is_not_blamed_for_what_neither_order_reads(spark, caplog, text):
    with caplog.at_level(logging.WARNING, logger="recsys"):
        result = cleaned(spark, [*[text] * 9, "12/1/2010"], dates=DatesConfig(formats=("d/M/yyyy",)))
    assert column(result.rejected, "rule") == ["unparsed_date"] * 9
    assert "month" not in caplog.text


def test_the_forms_to_set_are_those_of_the_config_in_the_other_order(spark):
    dates = DatesConfig(formats=("yyyyMMdd", "d/M/yyyy[ H:mm]", "dd-MM-yy", "d-MMM-yyyy"))
    with pytest.raises(DataError, match=r"to \['yyyyMMdd', 'M/d/yyyy\[ H:mm\]', 'MM-dd-yy', 'd-MMM-yyyy'\]$"):
        cleaned(spark, ["12/13/2010 8:26", "12-13-10", "3/4/2011"], dates=dates)


def test_lines_later_than_there_can_be_leave_by_a_rule(spark):
    texts = ["2011-12-08", "2011-12-09T23:59:59", "2011-12-10", "2062-03-05", "?"]
    result = cleaned(spark, texts, dates=DatesConfig(latest="2011-12-09"))
    assert column(result.rejected.orderBy("source_row"), "rule") == ["future_date", "future_date", "unparsed_date"]
    switched_off = {"future_date": False}
    result = cleaned(spark, texts, dates=DatesConfig(latest="2011-12-09"), rules=switched_off)
    assert column(result.rejected, "rule") == ["unparsed_date"]


@pytest.mark.parametrize("text", ["2011-12", "9.12.2011", "2011-12-09T10:00:00", "20111209"])
def test_the_last_day_is_an_iso_date(text):
    with pytest.raises(ConfigError, match=r"clean\.dates\.latest must be null or an ISO date"):
        DatesConfig(latest=text)


def test_few_interactions_behind_a_long_gap_are_named(spark):
    daily = [("7", "A", day) for day in range(200)]
    assert late_dates(interactions(spark, daily)) is None
    late = late_dates(interactions(spark, [*daily, ("8", "A", 18_000), ("8", "B", 18_000)]))
    assert late == {
        "interactions": 2,
        "first_date": "2060-04-13",
        "last_date": "2060-04-13",
        "last_before": "2011-07-19",
    }
    assert late_dates(interactions(spark, [*daily, ("8", "A", 227)])) is None  # 28 days after the day before
    assert late_dates(interactions(spark, [*daily, ("8", "A", 228)]))["interactions"] == 1
    many = [("8", f"B{number}", 300) for number in range(3)]  # more than one in a hundred
    assert late_dates(interactions(spark, [*daily, *many])) is None


def test_the_report_and_the_log_name_dates_that_lie_too_late(spark, caplog):
    dates = [*days_of(date(2011, 1, 1), 40), date(2062, 3, 5)]
    lines = [{"customer_id": "R", "invoice_date": day.isoformat()} for day in dates]
    io = MemoryIO(spark).give(RAW_LINES, raw_lines(spark, lines))
    with caplog.at_level(logging.WARNING, logger="recsys"):
        run(io, PipelineConfig(split=CUTOFFS))
    assert io.read_json(CLEANING_REPORT)["late_dates"]["last_date"] == "2062-03-05"
    assert "set clean.dates.latest" in caplog.text
    latest = CleanConfig(dates=DatesConfig(latest="2011-12-31"))
    run(io, PipelineConfig(clean=latest, split=CUTOFFS))
    assert io.read_json(CLEANING_REPORT)["late_dates"] is None
    assert column(io.read(REJECTED_LINES), "rule") == ["future_date"]
