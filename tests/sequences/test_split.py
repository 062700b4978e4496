from datetime import datetime, timedelta

import pytest

from recsys_spark.contracts import schemas
from recsys_spark.contracts.config import SplitConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.sequences.split import CUTOFFS, cutoff, cutoffs_of_fits, early_end, fit_cutoffs, require_parts
from tests.support.frames import frame, rows
from tests.support.worlds import START, interactions

NOON = datetime(2011, 1, 5, 12)
SHARE = "some.dev_share"


def queries_at(spark, hours):
    return frame(spark, schemas.QUERIES, [{"event_time": NOON + timedelta(hours=hour)} for hour in hours])


def after(hours):
    return cutoff((NOON + timedelta(hours=hours)).isoformat())


def test_cutoffs_are_times_that_occur_at_quantiles_of_the_repeat_customers_events(spark):
    # Days 1 to 10 have one event each that counts; day 0 is a first order, and customer 9 came only once.
    events = [("7", "A", day) for day in range(11)] + [("9", "A", 5)]
    assert fit_cutoffs(interactions(spark, events), SplitConfig()) == {
        "fold_end": "2011-01-07T09:00:00.000000",
        "train_end": "2011-01-09T09:00:00.000000",
        "val_end": "2011-01-10T09:00:00.000000",
    }


def test_an_event_weighs_as_often_as_its_basket_has_items(spark):
    events = [("7", "A", 0), ("7", "A", 1), *(("7", f"B{n}", 2) for n in range(6))]
    events += [("7", "A", day) for day in (3, 4, 5, 6)]
    # 11 events count: 1 on day 1, 6 on day 2, 1 on each of the days 3 to 6; 0.6 of them are reached on day 2.
    assert fit_cutoffs(interactions(spark, events), SplitConfig())["fold_end"] == "2011-01-03T09:00:00.000000"


def test_lines_without_a_customer_move_no_cutoff(spark):
    events = [("7", "A", day) for day in range(11)]
    anonymous = [(None, "A", 20 + day) for day in range(50)]
    assert fit_cutoffs(interactions(spark, events + anonymous), SplitConfig()) == (
        fit_cutoffs(interactions(spark, events), SplitConfig())
    )
    with pytest.raises(DataError, match="no line has both a customer and a time"):
        require_parts(interactions(spark, anonymous), dict.fromkeys(("fold_end", "train_end", "val_end"), "2011-01-01"))


def test_cutoffs_of_the_config_are_taken_as_they_are(spark):
    config = SplitConfig(fold_end="2011-01-01", train_end="2011-01-02T12:00:00+03:00", val_end="2011-01-03")
    assert fit_cutoffs(interactions(spark, []), config)["train_end"] == "2011-01-02T09:00:00.000000"


def test_too_few_orders_to_split_is_an_error(spark):
    with pytest.raises(DataError, match="too few orders"):
        fit_cutoffs(interactions(spark, [("7", "A", 0), ("7", "B", 1), ("8", "A", 4)]), SplitConfig())


def test_customers_who_all_have_one_order_are_an_error_that_asks_for_no_dates(spark):
    with pytest.raises(DataError, match="no customer has a second order") as error:
        fit_cutoffs(interactions(spark, [("7", "A", 0), ("7", "B", 0), ("8", "A", 4)]), SplitConfig())
    assert "split." not in str(error.value)


def test_a_test_split_that_would_be_empty_is_an_error(spark):
    # Days 1 to 5 count: 0.9 of the five events is reached on the last of them.
    with pytest.raises(DataError, match="the last one and the end of the data, coincide"):
        fit_cutoffs(interactions(spark, [("7", "A", day) for day in range(6)]), SplitConfig())


# Customer 7 comes on days 1, 3, 5 and 7 after a first order; what customer 9 buys on days 2 to 8 has nothing before it.
PARTED = [("7", "A", day) for day in (0, 1, 3, 5, 7)] + [(f"9{day}", "A", day) for day in range(2, 9)]


@pytest.mark.parametrize(
    ("days", "empty"),
    [
        ((0, 3, 5), "lies up to split.fold_end;"),
        ((3, 4, 5), "lies after split.fold_end up to split.train_end;"),
        ((1, 5, 6), "lies after split.train_end up to split.val_end;"),
        ((1, 3, 7), "lies after split.val_end;"),
        ((1, 2, 8), "lies after split.fold_end up to split.train_end and none after split.val_end;"),
    ],
)
def test_dates_that_leave_a_part_without_an_event_of_a_known_customer_are_an_error(spark, days, empty):
    cutoffs = {name: (START + timedelta(days=day)).isoformat() for name, day in zip(CUTOFFS, days, strict=True)}
    with pytest.raises(DataError) as error:
        require_parts(interactions(spark, PARTED), cutoffs)
    assert empty in str(error.value)
    assert "from 2011-01-01T09:00:00.000000 to 2011-01-09T09:00:00.000000" in str(error.value)


def test_dates_that_leave_an_event_of_a_known_customer_in_every_part_are_taken(spark):
    cutoffs = {name: (START + timedelta(days=day)).isoformat() for name, day in zip(CUTOFFS, (1, 3, 5), strict=True)}
    require_parts(interactions(spark, PARTED), cutoffs)


def test_a_cutoff_that_is_no_date_is_an_error():
    with pytest.raises(ConfigError, match=r"split\.train_end must be an ISO date"):
        SplitConfig(fold_end="2011-01-01", train_end="2011-02", val_end="2011-03-01")


@pytest.mark.parametrize(
    ("dates", "rise"),
    [
        (("2011-01-02T00:30:00+03:00", "2011-01-01T22:00:00", "2011-01-03"), True),  # 21:30 of the day before
        (("2011-01-01T22:00:00", "2011-01-02T00:30:00+03:00", "2011-01-03"), False),
        (("2011-01-01", "2011-01-01T00:00:00", "2011-01-03"), False),  # one moment
    ],
)
def test_cutoffs_rise_in_utc(dates, rise):
    named = dict(zip(("fold_end", "train_end", "val_end"), dates, strict=True))
    if rise:
        assert SplitConfig(**named).train_end == dates[1]
    else:
        with pytest.raises(ConfigError, match="in rising order"):
            SplitConfig(**named)


def test_each_fit_knows_its_cutoff_and_full_knows_all():
    cutoffs = {"fold_end": "a", "train_end": "b", "val_end": "c"}
    assert cutoffs_of_fits(cutoffs) == {"fold": "a", "train": "b", "val": "c", "full": "9999-12-31T00:00:00.000000"}


def test_the_dev_slice_starts_between_two_times(spark):
    queries = queries_at(spark, (0, 1, 2, 2, 2, 3, 3, 4, 5, 6))
    found = spark.range(1).select(early_end(queries, 0.4, after(0), SHARE))
    assert rows(found) == [(NOON + timedelta(hours=2),)]  # five of ten; six would end within an hour's two


def test_too_few_queries_for_a_dev_slice_are_an_error(spark):
    with pytest.raises(DataError, match=rf"too few training queries .* lower {SHARE}"):
        early_end(queries_at(spark, [0]), 0.1, after(-9999), SHARE)


def test_a_dev_slice_that_reaches_back_before_the_fold_is_an_error(spark):
    with pytest.raises(DataError, match=r"after split\.fold_end"):
        early_end(queries_at(spark, range(10)), 0.4, after(7), SHARE)
