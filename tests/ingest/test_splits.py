from recsys_spark.ingest.splits import fix_splits, splits_kept

KEY = "spark.sql.files.minPartitionNum"


def test_the_number_of_splits_is_that_of_the_cores_and_goes_afterwards(spark):
    spark.conf.unset(KEY)
    with splits_kept(spark):
        assert spark.conf.get(KEY) == "2"  # the session of the tests has two cores
        fix_splits(spark)
        assert spark.conf.get(KEY) == "2"
    assert spark.conf.get(KEY, None) is None


def test_a_number_that_somebody_set_stays(spark):
    spark.conf.set(KEY, "7")
    with splits_kept(spark):
        fix_splits(spark)
        assert spark.conf.get(KEY) == "7"
    assert spark.conf.get(KEY) == "7"
    spark.conf.unset(KEY)
