"""How Spark splits files, kept the same from one scan of them to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

_AT_LEAST = "spark.sql.files.minPartitionNum"
_MANY = 100_000  # more than a cluster has cores


def fix_splits(spark: SparkSession) -> None:
    """Have the session aim at as many splits as there are cores now, unless it has a number already.

    Without one Spark asks for the cores at every scan, and under autoscaling each may find another number.
    """
    if spark.conf.get(_AT_LEAST, None) is None:
        last = spark.range(_MANY).select(F.spark_partition_id().alias("at")).agg(F.max("at").alias("at")).first()
        assert last is not None
        spark.conf.set(_AT_LEAST, str(last["at"] + 1))


@contextmanager
def splits_kept(spark: SparkSession) -> Iterator[None]:
    """Within, what is read is split alike each time; afterwards the session is as it was."""
    before = spark.conf.get(_AT_LEAST, None)
    try:
        fix_splits(spark)
        yield
    finally:
        if before is None:
            spark.conf.unset(_AT_LEAST)
