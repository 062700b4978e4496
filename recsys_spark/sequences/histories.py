"""A customer's events in time order, as one row per customer."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from recsys_spark.sequences.places import PLACES, place_hash

HISTORIES = "user_idx bigint, customer_id string, items array<bigint>, micros array<bigint>, amounts array<double>"


def customer_histories(
    interactions: DataFrame,
    item_ids: DataFrame,
    customer_ids: DataFrame,
    merge_minutes: int = 0,
    with_quantities: bool = False,
    with_places: bool = False,
) -> DataFrame:
    """HISTORIES: each customer's events sorted by time and, within a time, by stock_code.

    items, micros (microseconds since 1970, UTC) and amounts are parallel arrays. Events without customer, item or
    time are left out. with_quantities: a further such array, `quantities`. with_places: two more, `showrooms` and
    `channels`, hashes of the names where the lines were bought, 0 where they name none.
    """
    details = {"amount": "line_amount", "quantity": "quantity"} if with_quantities else {"amount": "line_amount"}
    places = tuple(PLACES) if with_places else ()
    events = (
        interactions.filter("invoice_date is not null")
        .join(item_ids, on="stock_code", how="inner")
        .join(customer_ids, on="customer_id", how="inner")
        .select(
            "user_idx",
            "customer_id",
            "stock_code",
            "item_idx",
            F.unix_micros("invoice_date").alias("micros"),
            *(F.col(source).cast("double").alias(name) for name, source in details.items()),
            *(F.coalesce(place_hash(kind), F.lit(0)).alias(kind) for kind in places),
        )
    )
    if merge_minutes:
        events = _merge_orders(events, merge_minutes, tuple(details), places)
    event = F.struct("micros", "stock_code", "item_idx", *details, *places)
    collected = events.groupBy("user_idx", "customer_id").agg(F.array_sort(F.collect_list(event)).alias("events"))
    return collected.select(
        "user_idx",
        "customer_id",
        F.col("events.item_idx").alias("items"),
        F.col("events.micros").alias("micros"),
        F.col("events.amount").alias("amounts"),
        *([F.col("events.quantity").alias("quantities")] if with_quantities else []),
        *(F.col(f"events.{kind}").alias(PLACES[kind]) for kind in places),
    )


def _merge_orders(events: DataFrame, minutes: int, summed: tuple[str, ...], places: tuple[str, ...]) -> DataFrame:
    """Give orders that follow the last within `minutes` the time of the first in their chain, and join their lines.

    Of the places of joined lines the one with the least hash stays. No cutoff ends a chain: all its lines count on the
    side of its first order, those that came after the cutoff too.
    """
    in_time = Window.partitionBy("user_idx").orderBy("micros")
    is_new = _gap(in_time) > minutes * 60_000_000
    started = events.withColumn("start", F.when(F.coalesce(is_new, F.lit(True)), F.col("micros")))
    chain = F.max("start").over(in_time.rangeBetween(Window.unboundedPreceding, Window.currentRow))
    return (
        started.withColumn("micros", chain)
        .groupBy("user_idx", "customer_id", "stock_code", "item_idx", "micros")
        .agg(
            *(F.sum(F.col(name).cast("decimal(18,4)")).cast("double").alias(name) for name in summed),
            *(F.min(kind).alias(kind) for kind in places),
        )
    )


def _gap(in_time: WindowSpec) -> Column:
    return F.col("micros") - F.lag("micros").over(in_time)
