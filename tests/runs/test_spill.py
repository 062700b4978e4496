from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_spark.runs.spill import Spill
from tests.support.sessions import SHORT_LIVED_JVM

ROOT = Path(__file__).parents[2]
# A session with its UI, and a sort that spills every thousand rows; prints what was spilled before, by it, and after.
SPILLING = f"""
import sys
from recsys_spark.contracts.config import SessionConfig
from recsys_spark.runs.spill import Spill
from recsys_spark.session import get_session

conf = {{
    "spark.master": "local[2]", "spark.driver.memory": "1g", "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1", "spark.sql.shuffle.partitions": "2", "spark.ui.enabled": "true",
    "spark.ui.port": sys.argv[1], "spark.shuffle.spill.numElementsForceSpillThreshold": "1000",
    "spark.driver.extraJavaOptions": "{SHORT_LIVED_JVM}",
}}
spark, spill = get_session(SessionConfig(conf=conf)), Spill()
before = spill.since_last_time(spark)
spark.range(100_000).selectExpr("hash(id) as h", "id").sort("h").write.format("noop").mode("overwrite").save()
during = spill.since_last_time(spark)
print(before, during, spill.since_last_time(spark))
"""


def test_without_a_ui_nothing_is_known_of_spilling(spark):
    assert Spill().since_last_time(spark) is None


@pytest.mark.slow
@pytest.mark.spark
def test_spilled_bytes_are_those_of_what_ran_since_the_last_question():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = subprocess.run(
        [sys.executable, "-c", SPILLING, str(port)],
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
