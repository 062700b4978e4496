from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.sequences import run
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.config import PipelineConfig, SequencesConfig
from tests.support.memory_io import MemoryIO
from tests.support.worlds import interactions

CUTOFFS = {"fold_end": "2011-01-02", "train_end": "2011-01-03T09:00:00", "val_end": "2011-01-04T09:00:00"}


@pytest.mark.parametrize(("mode", "is_warned"), [("event", True), ("basket", False)])
def test_histories_that_may_end_in_their_own_basket_are_warned_of(spark, caplog, mode, is_warned):
    io = MemoryIO(spark).give(artifacts.SPLIT_CUTOFFS, CUTOFFS)
    io.give(artifacts.INTERACTIONS_CLEAN, interactions(spark, [("7", "A", 0), ("7", "B", 2)]))
    io.give(artifacts.ITEM_ID_MAP, spark.createDataFrame([(1, "A"), (2, "B")], "item_idx bigint, stock_code string"))
    io.give(artifacts.CUSTOMER_ID_MAP, spark.createDataFrame([(1, "7")], "user_idx bigint, customer_id string"))
    config = replace(PipelineConfig(), sequences=SequencesConfig(history_mode=mode))
    assert run(io, config)["train_positives"] == 1
    assert ("end in the basket that is asked for" in caplog.text) == is_warned
