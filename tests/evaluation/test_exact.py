"""Sums that no order of the addends changes."""

from math import fsum

import numpy as np
from pyspark.sql import functions as F

from recsys_spark.evaluation.bootstrap import CELLS_DDL, read_sums, resampled_sums
from recsys_spark.evaluation.exact import coarse_and_fine, exact_sum
from tests.support.sessions import settings_for_a_while

ADDENDS = (1e9 / 3 * np.random.default_rng(7).random(3_000) ** 20).tolist()  # from next to nothing to a third of 1e9


def test_a_sum_is_the_same_in_every_order_where_a_plain_one_is_not(spark):
    plain, exact = set(), set()
    for order in (ADDENDS, ADDENDS[::-1], sorted(ADDENDS)):
        for partitions in (1, 3):
            frame = spark.createDataFrame([(value,) for value in order], "value double").coalesce(partitions)
            row = frame.agg(F.sum("value").alias("plain"), exact_sum(F.col("value")).alias("exact")).first()
            plain.add(row["plain"])
            exact.add(row["exact"])
    assert len(plain) > 1
    assert exact == {sum(map(fsum, coarse_and_fine(np.array(ADDENDS))))}


def test_it_is_the_sum_but_for_what_is_beyond_the_fine_part(spark):
    coarse, fine = coarse_and_fine(np.array(ADDENDS))
    assert np.abs(coarse + fine - ADDENDS).max() <= 2**-41
    frame = spark.createDataFrame([(value,) for value in ADDENDS], "value double")
    assert abs(frame.agg(exact_sum(F.col("value"))).first()[0] - fsum(ADDENDS)) < 3_000 * 2**-41 + 2**-22
    assert coarse_and_fine(np.array([3.0, -0.5, 0.1]))[0].tolist() == [3.0, -0.5, 410 / 4096]


def test_nothing_has_no_sum_and_nulls_add_nothing(spark):
    frame = spark.createDataFrame([(None,), (None,)], "value double")
    assert frame.agg(exact_sum(F.col("value"))).first()[0] is None
    with_one = frame.union(spark.createDataFrame([(0.3,)], "value double"))
    assert with_one.agg(exact_sum(F.col("value"))).first()[0] == sum(coarse_and_fine(np.array([0.3])))[0]


def test_resampled_sums_do_not_hang_on_how_customers_are_parted(spark):
    rows = [(user, "a", [value]) for user, value in enumerate(ADDENDS)]
    found = []
    for partitions, order in ((1, rows), (5, rows[::-1])):
        with settings_for_a_while(spark, {"spark.sql.shuffle.partitions": str(partitions)}):
            sums = resampled_sums(spark.createDataFrame(order, CELLS_DDL), 9, seed=2).first()["sums"]
        found.append(read_sums(sums, 9).tolist())
    assert found[0] == found[1]
