"""PPMI of items bought in the same baskets: what item vectors are started from."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.neighbours import NeighbourOptions, find_neighbours
from recsys_spark.contracts.retriever_schemas import CO_PURCHASES
from recsys_spark.entities.id_maps import dense_index

_REMEDY = "start no tower from co-purchases (retriever.<tower>.start: random)"  # a basket has no cap


def numbered_baskets(events: DataFrame) -> DataFrame:
    """row, invoice_date, item_idx: each item of a basket (a customer's purchases of one time) once, row its number.

    events: user_idx, item_idx, invoice_date. The numbers are dense, from 1.
    """
    lines = events.select("user_idx", "invoice_date", "item_idx").distinct()
    basket = F.concat_ws(" ", F.col("user_idx").cast("string"), F.unix_micros("invoice_date").cast("string"))
    named = lines.select("invoice_date", "item_idx", basket.alias("basket"))
    numbers = dense_index(named, "basket", "row")
    return named.join(numbers, on="basket", how="inner").select("row", "invoice_date", "item_idx")


def co_purchases(baskets: DataFrame, options: NeighbourOptions, folder: str) -> DataFrame:
    """CO_PURCHASES: max(0, log(n(i, j) R / (n(i) n(j)))) over R baskets, for the nearest of each item by cosine.

    baskets: of `numbered_baskets`, those up to the cutoff (numbers left out cost memory only); read several times.
    folder: empty scratch that all executors reach. Which pairs are kept is decided by the cosine n(i, j) / root of
    n(i) n(j), without shrinkage, which gives n(i, j) back. (Levy and Goldberg, NeurIPS 2014, factorise the same matrix
    over words.)
    """
    triples = baskets.select("row", F.col("item_idx").alias("col"), F.lit(1.0).alias("weight"))
    near = find_neighbours(triples, replace(options, remedy=_REMEDY), folder)
    sizes = baskets.groupBy("item_idx").agg(F.count(F.lit(1)).cast("double").alias("baskets"))
    own = sizes.select(F.col("item_idx").alias("col"), F.col("baskets").alias("own"))
    other = sizes.select(F.col("item_idx").alias("neighbour"), F.col("baskets").alias("others"))
    total = F.broadcast(baskets.agg(F.countDistinct("row").cast("double").alias("total")))
    counted = near.join(own, on="col", how="inner").join(other, on="neighbour", how="inner").crossJoin(total)
    # score = n(i, j) / root(n(i) n(j)), so n(i, j) R / (n(i) n(j)) = score R / root(n(i) n(j)).
    ppmi = F.log(F.col("score") * F.col("total") / F.sqrt(F.col("own") * F.col("others")))
    return (
        counted.select(
            F.col("col").alias("item_idx"),
            F.col("neighbour").alias("neighbour_idx"),
            F.round(ppmi, 6).alias("ppmi"),
        )
        .filter("ppmi > 0")
        .select(*CO_PURCHASES.names)
    )
