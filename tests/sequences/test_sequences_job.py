from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.sequences import run
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.config import PipelineConfig, SequencesConfig
from tests.support.memory_io import MemoryIO
from tests.support.worlds import interactions

CUTOFFS = {"fold_end": "2011-01-02", "train_end": "2011-01-03T09:00:00", "val_end": "2011-01-04T09:00:00"}


def given(io: MemoryIO) -> MemoryIO:
    spark = io.spark
    io.give(artifacts.SPLIT_CUTOFFS, CUTOFFS)
    io.give(artifacts.INTERACTIONS_CLEAN, interactions(spark, [("7", "A", 0), ("7", "B", 2)]))
    io.give(artifacts.ITEM_ID_MAP, spark.createDataFrame([(1, "A"), (2, "B")], "item_idx bigint, stock_code string"))
    io.give(artifacts.CUSTOMER_ID_MAP, spark.createDataFrame([(1, "7")], "user_idx bigint, customer_id string"))
    return io


def test_python_is_handed_few_customers_at_a_time(spark):
    """A row is all that a customer ever bought: Spark would hand over ten thousand."""
    key, handed = "spark.sql.execution.arrow.maxRecordsPerBatch", []

    class Watched(MemoryIO):
        def write(self, artifact, frame, **keys):
            handed.append(int(self.spark.conf.get(key)))
            return super().write(artifact, frame, **keys)

    before = spark.conf.get(key)
    run(given(Watched(spark)), PipelineConfig())
    assert handed == [512] * 6  # sequences and queries of three splits
    assert spark.conf.get(key) == before


@pytest.mark.parametrize(("mode", "is_warned"), [("event", True), ("basket", False)])
def test_histories_that_may_end_in_their_own_basket_are_warned_of(spark, caplog, mode, is_warned):
    io = given(MemoryIO(spark))
    config = replace(PipelineConfig(), sequences=SequencesConfig(history_mode=mode))
    assert run(io, config)["train_positives"] == 1
    assert ("end in the basket that is asked for" in caplog.text) == is_warned
