"""External ids <-> dense indices 1..N, without a total sort and without the driver."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.frames import window_over_all

_BUCKET_BITS = 12


def dense_index(ids: DataFrame, id_column: str, index_column: str) -> DataFrame:
    """(index_column, id_column) with indices 1..N over the distinct non-null ids.

    Ids are numbered in the order of their hash: by bucket (the hash's first bits), then within the bucket. Each
    bucket's offset is the number of ids in the buckets before it, so every task numbers its own buckets and the
    result depends on the ids alone.
    """
    distinct = ids.select(id_column).filter(F.col(id_column).isNotNull()).distinct()
    hashed = distinct.withColumn("hash", F.xxhash64(id_column))
    bucketed = hashed.withColumn("bucket", F.shiftrightunsigned("hash", 64 - _BUCKET_BITS))
    sizes = bucketed.groupBy("bucket").agg(F.count(F.lit(1)).alias("size"))
    before = window_over_all("bucket").rowsBetween(Window.unboundedPreceding, -1)  # at most 2**12 rows
    offsets = sizes.select("bucket", F.coalesce(F.sum("size").over(before), F.lit(0)).alias("offset"))
    within = F.row_number().over(Window.partitionBy("bucket").orderBy("hash", id_column))
    numbered = bucketed.withColumn("within", within).join(F.broadcast(offsets), on="bucket", how="inner")
    return numbered.select((F.col("offset") + F.col("within")).alias(index_column), id_column)
