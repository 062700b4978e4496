from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from recsys_spark.contracts import schemas
from recsys_spark.contracts.config import CleanConfig, IngestConfig, TablesConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.recommendations.lists import queries_at
from recsys_spark.recommendations.moment import (
    fit_at,
    last_event,
    moment_after,
    only_new_lines,
    source_of,
    with_new_customers,
)
from tests.support.frames import frame, rows
from tests.support.worlds import interactions

CUTOFFS = {
    "fold_end": "2011-01-02T00:00:00.000000",
    "train_end": "2011-01-03T00:00:00.000000",
    "val_end": "2011-01-04T00:00:00.000000",
}
EVENTS = [("acme", "A1", 0), ("acme", "A2", 5), ("bell", "A1", 3)]  # days from 2011-01-01 09:00


@pytest.mark.parametrize(
    ("as_of", "fit"),
    [
        (None, "full"),
        ("2011-01-06T09:00:00.000001", "full"),
        ("2011-01-06T09:00:00.000000", "val"),  # the last event is not before it, and full knows that
        ("2011-01-04T00:00:00.000001", "val"),
        ("2011-01-04T00:00:00.000000", "train"),
    ],
)
def test_the_fit_knows_nothing_of_the_moment_and_after(as_of, fit):
    assert fit_at(as_of, CUTOFFS, "2011-01-06T09:00:00.000000") == fit


def test_before_the_first_ranker_there_is_nothing_to_ask():
    with pytest.raises(ConfigError, match="not after 2011-01-03"):
        fit_at("2011-01-03T00:00:00.000000", CUTOFFS, "2011-01-06T09:00:00.000000")


def test_customers_are_asked_for_who_bought_before_the_moment(spark):
    events = interactions(spark, EVENTS)
    customers = frame(
        spark, schemas.CUSTOMER_ID_MAP, [{"user_idx": 1, "customer_id": "acme"}, {"user_idx": 2, "customer_id": "bell"}]
    )
    assert last_event(events) == "2011-01-06T09:00:00.000000"
    early = queries_at(customers, events, moment_after(events, "2011-01-04T09:00:00.000000"))
    assert rows(early, "user_idx", "query_id") == [(1, 1)]  # bell's only order is at the moment, not before it
    later = queries_at(customers, events, moment_after(events, None))
    assert rows(later.select("customer_id", F.col("event_time").cast("string"))) == [
        ("acme", "2011-01-06 09:00:00.000001"),
        ("bell", "2011-01-06 09:00:00.000001"),
    ]


def test_new_lines_are_cleaned_and_known_ones_stay_as_they_are(spark, tmp_path):
    header = "invoice no,stock code,description,quantity,date,amount,customer\n"
    lines = [
        "7,a2,cup,2,2011-01-07 10:00,4.00,acme",
        "7,A2,cup,1,2011-01-07 10:00,2.00,acme",  # the same product, summed
        "8,A1,cup,9,2011-01-04 09:00,99.00,bell",  # known already
        "9,A1,cup,1,2011-01-08 10:00,2.00,coop",
        "C9,A1,cup,-1,2011-01-08 10:00,-2.00,coop",
    ]
    (tmp_path / "new.csv").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    known = interactions(spark, EVENTS)

    def kept(_name, made, partition_by=None):
        return made.localCheckpoint()

    new = only_new_lines(known, (str(tmp_path / "new.csv"),), IngestConfig(), CleanConfig(), CustomerEntry(), kept)
    assert (new.num_read, new.rejected) == (5, {"return": 1})
    found = known.unionByName(new.interactions)
    told = found.select("customer_id", "stock_code", F.col("quantity").cast("int"), F.dayofmonth("invoice_date"))
    assert rows(told) == [
        ("acme", "A1", 1, 1),
        ("acme", "A2", 1, 6),
        ("acme", "A2", 3, 7),
        ("bell", "A1", 1, 4),
        ("coop", "A1", 1, 8),
    ]
    customers = frame(spark, schemas.CUSTOMER_ID_MAP, [{"user_idx": 1, "customer_id": "acme"}])
    extended = with_new_customers(customers, found, num_known=1)
    assert sorted(user for user, _ in rows(extended, "user_idx", "customer_id")) == [1, 2, 3]
    assert {name for _, name in rows(extended, "user_idx", "customer_id")} == {"acme", "bell", "coop"}


def test_lines_of_nobody_are_known_by_item_and_time(spark, tmp_path):
    header = "invoice no,stock code,description,quantity,date,amount,customer\n"
    lines = ["7,A1,cup,1,2011-01-03 09:00,2.00,", "8,A1,cup,1,2011-01-04 09:00,2.00,"]
    (tmp_path / "new.csv").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    known = interactions(spark, [*EVENTS, (None, "A1", 2)])
    config = CleanConfig(rules={"missing_customer": False})

    def kept(_name, made, partition_by=None):
        return made.localCheckpoint()

    new = only_new_lines(known, (str(tmp_path / "new.csv"),), IngestConfig(), config, CustomerEntry(), kept)
    found = new.interactions.select("customer_id", "stock_code", F.dayofmonth("invoice_date"))
    assert [tuple(row) for row in found.collect()] == [(None, "A1", 4)]


def test_files_of_new_lines_are_lines_whatever_the_first_ones_were():
    config = IngestConfig(format="tables", tables=TablesConfig(transactions="t.csv"))
    assert source_of(("new.csv",), config) == IngestConfig(sources=("new.csv",))
