"""How unlike the items of a list are.

Diversity of a list is 1 - the mean cosine of two of its items, each a 0/1 vector over the customers who bought it up to
the cutoff: the same vectors for every model. Where there are more customers than DIVERSITY_CUSTOMERS the vectors are
over that many of them, chosen by hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints
from recsys_spark.evaluation.exact import exact_sum
from recsys_spark.frames import window_over_all

DIVERSITY_K = 20
DIVERSITY_CUSTOMERS = 5_000  # bounds what is held of a list: as many numbers for each of its items
DIVERSITY_SUMS = ("diversity", "num_lists")


def customer_diversity(lists: DataFrame, users: DataFrame, buyers: DataFrame) -> DataFrame:
    """Sum of diversities and number of lists, DIVERSITY_SUMS, one row per model, protocol and customer.

    users: query_id and user_idx of the few queries that are looked at; buyers: distinct stock_code and customer_id up
    to the cutoff. Lists of fewer than two items have no pairs and are left out.
    """
    chosen = lists.join(F.broadcast(users), on="query_id", how="inner").withColumn(
        "stock_codes", F.slice("stock_codes", 1, DIVERSITY_K)
    )
    diverse = list_diversity(chosen.select("stock_codes").filter(F.size("stock_codes") >= 2).distinct(), buyers)
    return (
        chosen.join(diverse, on="stock_codes", how="inner")
        .groupBy("model", "protocol", "user_idx")
        .agg(exact_sum(F.col("diversity")).alias("diversity"), F.count(F.lit(1)).cast("double").alias("num_lists"))
    )


def list_diversity(lists: DataFrame, buyers: DataFrame) -> DataFrame:
    """stock_codes and their diversity; lists: distinct stock_codes of two items or more.

    Only DIVERSITY_CUSTOMERS of the buyers count; an item that none of them bought is like no other.
    """
    listed = lists.select(F.explode("stock_codes").alias("stock_code"), F.xxhash64("stock_codes").alias("list_id"))
    vectors = listed.join(_vectors(buyers), on="stock_code", how="inner").repartition("list_id")
    in_turn = vectors.sortWithinPartitions("list_id", "stock_code").select("list_id", "axes")
    cosines = in_turn.mapInArrow(_cosines, "list_id bigint, cosines double")
    size = F.size("stock_codes")
    diversity = 1 - F.coalesce(F.col("cosines"), F.lit(0.0)) / (size * (size - 1))
    numbered = lists.withColumn("list_id", F.xxhash64("stock_codes"))
    return numbered.join(cosines, on="list_id", how="left").select("stock_codes", diversity.alias("diversity"))


def _vectors(buyers: DataFrame) -> DataFrame:
    """stock_code and axes: the customers who bought it, by numbers below DIVERSITY_CUSTOMERS."""
    customers = buyers.select("customer_id", F.xxhash64("customer_id").alias("hash")).distinct()
    counted = customers.orderBy("hash", "customer_id").limit(DIVERSITY_CUSTOMERS)
    numbered = counted.withColumn("axis", F.row_number().over(window_over_all("hash")) - 1)
    bought = buyers.join(F.broadcast(numbered), on="customer_id", how="inner").groupBy("stock_code")
    return bought.agg(F.collect_list("axis").alias("axes"))


def _cosines(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For each list twice the sum of the cosines of its pairs. batches: list_id and axes, list by list."""
    begun = _Items(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
    for batch in batches:
        items = begun.followed_by(batch)
        starts = np.unique(items.list_ids, return_index=True)[1]  # they ascend
        yield items.sums(starts[:-1], starts[1:])
        begun = items.after(int(starts[-1]) if len(starts) else 0)  # its list may go on in the next batch
    if len(begun.list_ids):
        yield begun.sums(np.zeros(1, dtype=np.int64), np.array([len(begun.list_ids)]))


@dataclass(frozen=True)
class _Items:
    """N items that lists hold, list by list, with their axes one after another."""

    list_ids: Ints  # (N,)
    sizes: Ints  # (N,), axes of each
    axes: Ints

    def followed_by(self, batch: pa.RecordBatch) -> _Items:
        held = batch.column("axes")
        more = batch.column("list_id").to_numpy(), np.diff(held.offsets.to_numpy()), held.flatten().to_numpy()
        own = self.list_ids, self.sizes, self.axes
        return _Items(*(np.concatenate(pair) for pair in zip(own, more, strict=True)))

    def after(self, first: int) -> _Items:
        return _Items(self.list_ids[first:], self.sizes[first:], self.axes[int(self.sizes[:first].sum()) :])

    def sums(self, starts: Ints, ends: Ints) -> pa.RecordBatch:
        """list_id and cosines of the lists whose items lie between these places.

        With unit vectors v the sum of all cosines is |v_1 + ... + v_k|^2, so no pairs are formed; those of an item
        with itself, 1 each, are taken off.
        """
        weights = np.repeat(1 / np.sqrt(self.sizes), self.sizes)
        reached = np.concatenate([[0], np.cumsum(self.sizes)])
        found = []
        for first, last in zip(reached[starts], reached[ends], strict=True):
            summed = np.bincount(self.axes[first:last], weights=weights[first:last])
            found.append(summed @ summed)
        cosines = np.array(found, dtype=np.float64) - (ends - starts)
        return pa.record_batch([pa.array(self.list_ids[starts]), pa.array(cosines)], names=["list_id", "cosines"])
