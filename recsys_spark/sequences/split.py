"""The three cutoffs that part the data by time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.contracts.checks import utc_moment
from recsys_spark.contracts.config import SplitConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.frames import window_over_all

CUTOFFS = ("fold_end", "train_end", "val_end")
END_OF_TIME = "9999-12-31T00:00:00.000000"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def fit_cutoffs(interactions: DataFrame, config: SplitConfig) -> dict[str, str]:
    """fold_end, train_end, val_end as ISO texts in UTC.

    They are quantiles, at times that occur, of the times of the events that have a strictly earlier event of the
    same customer; or the dates of the config, which `require_parts` holds against the data. Raises DataError where
    there are too few such events to part, so that nothing would be left after one of them.
    """
    dates = (config.fold_end, config.train_end, config.val_end)
    if all(dates):
        return {name: iso_in_utc(str(date), f"split.{name}") for name, date in zip(CUTOFFS, dates, strict=True)}
    quantiles = _time_quantiles(interactions, (config.fold_share, config.train_share, config.val_share, 1.0))
    if None in quantiles:
        raise DataError(
            "no customer has a second order at a later time, so that there is nothing to learn from or to judge by; "
            "look whether customer_id and invoice_date are mapped to the right columns, or bring more lines"
        )
    if len(set(quantiles)) < len(quantiles):
        raise DataError(
            "too few orders to split by time: the cutoffs at "
            f"{config.fold_share}, {config.train_share} and {config.val_share} of the repeat customers' events, or the "
            "last one and the end of the data, coincide; give split.fold_end, split.train_end and split.val_end"
        )
    return {name: _iso(micros) for name, micros in zip(CUTOFFS, quantiles[:-1], strict=True) if micros is not None}


def require_parts(interactions: DataFrame, cutoffs: dict[str, str]) -> None:
    """Raise DataError where before, between or after the cutoffs no event has a strictly earlier one of its customer.

    interactions: INTERACTIONS_CLEAN. Without such an event there is nothing to learn from, to choose by or to judge.
    """
    time, names = F.col("invoice_date"), [f"split.{name}" for name in CUTOFFS]
    ends = [cutoff(cutoffs[name]) for name in CUTOFFS]
    parts = {f"up to {names[0]}": time <= ends[0]}
    for place in (1, 2):
        parts[f"after {names[place - 1]} up to {names[place]}"] = (time > ends[place - 1]) & (time <= ends[place])
    parts[f"after {names[2]}"] = time > ends[2]
    is_later = time > F.col("first_date")
    counts = [F.count_if(is_later & is_inside).alias(part) for part, is_inside in parts.items()]
    span = [F.unix_micros(bound).alias(name) for name, bound in (("first", F.min(time)), ("last", F.max(time)))]
    row = _orders(interactions).agg(*span, *counts).first()
    assert row is not None  # an aggregate without keys has one row
    if row["first"] is None:
        raise DataError("no line has both a customer and a time, so there is nobody to recommend to")
    empty = [part for part in parts if not row[part]]
    if empty:
        raise DataError(
            f"no event of a customer with an earlier one lies {' and none '.join(empty)}; the events run from "
            f"{_iso(row['first'])} to {_iso(row['last'])}; choose dates within, or none, "
            "and see that clean.outliers and clean.coverage leave events there"
        )


def cutoff(iso: str) -> Column:
    """A cutoff, or another time that the config names, as a timestamp column; iso: in UTC."""
    return F.lit(iso).cast("timestamp")


def cutoffs_of_fits(cutoffs: dict[str, str]) -> dict[str, str]:
    """Last time that each fit may know: fold, train, val by their cutoffs, full for all data."""
    return {**{name.removesuffix("_end"): cutoffs[name] for name in CUTOFFS}, "full": END_OF_TIME}


def early_end(queries: DataFrame, dev_share: float, fold: Column, key: str) -> Column:
    """The time up to which all but the last `dev_share` of the training queries lie; whole times only.

    Raises DataError, which names the config's key of the share, where it does not lie after the time `fold`.
    """
    per_time = queries.groupBy(F.unix_micros("event_time").alias("micros")).agg(F.count(F.lit(1)).alias("queries"))
    # One task sees all distinct times, as for the cutoffs themselves.
    reached = F.sum("queries").over(window_over_all("micros"))
    total = F.broadcast(per_time.agg(F.sum("queries").alias("total")))
    early = per_time.withColumn("reached", reached).crossJoin(total).filter(f"reached <= {1 - dev_share} * total")
    row = early.agg(F.max("micros").alias("micros"), F.unix_micros(fold).alias("fold")).first()
    if row is None or row["micros"] is None or row["micros"] <= row["fold"]:
        raise DataError(
            f"too few training queries after split.fold_end for a dev slice; lower {key}, let the fold end earlier or "
            "bring more lines"
        )
    return F.timestamp_micros(F.lit(row["micros"]))


def _time_quantiles(interactions: DataFrame, shares: tuple[float, ...]) -> list[int | None]:
    """For each share the least time (microseconds) by which at least that share of the events has happened."""
    later = _orders(interactions).filter("invoice_date > first_date")
    per_time = later.groupBy(F.unix_micros("invoice_date").alias("micros")).agg(F.sum("num_events").alias("events"))
    # One task sees all distinct times: a decade of minutes is five million rows.
    running = per_time.withColumn("reached", F.sum("events").over(window_over_all("micros")))
    total = per_time.agg(F.sum("events").alias("total"))
    reached = running.crossJoin(F.broadcast(total))
    quantiles = [
        F.min(F.when(F.col("reached") >= F.ceil(F.col("total") * share), F.col("micros"))).alias(f"q{number}")
        for number, share in enumerate(shares)
    ]
    row = reached.agg(*quantiles).first()
    assert row is not None
    return list(row)


def _orders(interactions: DataFrame) -> DataFrame:
    """customer_id, invoice_date, num_events, and first_date, that of the customer's first order.

    Lines without a customer are in no order.
    """
    known = interactions.filter("customer_id is not null")
    orders = known.groupBy("customer_id", "invoice_date").agg(F.count(F.lit(1)).alias("num_events"))
    return orders.withColumn("first_date", F.min("invoice_date").over(Window.partitionBy("customer_id")))


def _iso(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds").removesuffix("+00:00")


def iso_in_utc(date: str, key: str) -> str:
    """A date or time of the config as the cutoffs are spelled; raises ConfigError, which names the key, for others."""
    return utc_moment(date, key).isoformat(timespec="microseconds")
