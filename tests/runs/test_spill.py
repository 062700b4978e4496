from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_spark.runs.spill import Spill
from tests.support.sessions import short_lived_jvm

ROOT = Path(__file__).parents[2]
# A session with or without its UI, and a sort that spills every thousand rows; prints what was spilled before, by it,
# and after.
SPILLING = """
import sys
from recsys_spark.contracts.config import SessionConfig
from recsys_spark.runs.spill import Spill
from recsys_spark.session import get_session

conf = {
    "spark.master": "local[2]", "spark.driver.memory": "1g", "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1", "spark.sql.shuffle.partitions": "2", "spark.ui.enabled": sys.argv[1],
    "spark.shuffle.spill.numElementsForceSpillThreshold": "1000",
    "spark.driver.extraJavaOptions": sys.argv[2],
}
spark, spill = get_session(SessionConfig(conf=conf)), Spill()
before = spill.since_last_time(spark)
spark.range(100_000).selectExpr("hash(id) as h", "id").sort("h").write.format("noop").mode("overwrite").save()
during = spill.since_last_time(spark)
print(before, during, spill.since_last_time(spark))
"""


class Connect:
    """A session of Spark Connect, which has no context."""

    @property
    def sparkContext(self):  # noqa: N802
        raise NotImplementedError


def test_without_a_jvm_to_ask_nothing_is_known_of_spilling():
    assert Spill().since_last_time(Connect()) is None


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize("has_ui", ["true", "false"])
def test_spilled_bytes_are_those_of_what_ran_since_the_last_question(has_ui):
    answer = subprocess.run(
        [sys.executable, "-c", SPILLING, has_ui, short_lived_jvm()],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    before, during, after = answer.stdout.split()[-3:]
    assert (before, after) == ("0", "0")
    assert int(during) > 0
