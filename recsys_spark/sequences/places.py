"""Where customers buy: showrooms and sales channels as numbers, and the one that each customer uses most."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

PLACES = {"showroom": "showrooms", "sales_channel": "channels"}  # column of the lines -> array of a history


def place_hash(kind: str) -> Column:
    """A place as a number, null where a line names none. kind: a key of PLACES."""
    return F.when(F.col(kind).isNotNull(), F.xxhash64(kind))


def placed_events(known: DataFrame) -> DataFrame:
    """kind, place, stock_code, customer_id of each line and each kind of place that it names."""
    kinds = F.array(*(F.struct(F.lit(kind).alias("kind"), place_hash(kind).alias("place")) for kind in PLACES))
    return known.select("stock_code", "customer_id", F.inline(kinds)).filter(F.col("place").isNotNull())


def usual_places(known: DataFrame) -> DataFrame:
    """kind, customer_id, place: where each customer bought most; ties by the place's hash."""
    counts = placed_events(known).groupBy("kind", "customer_id", "place").agg(F.count(F.lit(1)).alias("num_events"))
    most = Window.partitionBy("kind", "customer_id").orderBy(F.desc("num_events"), "place")
    ranked = counts.withColumn("row", F.row_number().over(most))
    return ranked.filter("row = 1").select("kind", "customer_id", "place")
