"""One Spark session for the whole run; marks follow from what a test uses."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

# Collected timestamps pass through Python's local time.
os.environ["TZ"] = "UTC"
time.tzset()
# ranx compiles for 20 seconds what plain Python computes in one on small worlds.
os.environ["NUMBA_DISABLE_JIT"] = "1"

from pyspark.sql import SparkSession

from recsys_spark.contracts.config import SessionConfig
from recsys_spark.session import get_session
from tests.support.sessions import settings_for_a_while, short_lived_jvm


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A local session with two cores; small frames want few partitions."""
    session = get_session(
        SessionConfig(
            app_name="tests",
            conf={
                "spark.master": "local[2]",
                "spark.ui.enabled": "false",
                "spark.ui.showConsoleProgress": "false",
                "spark.sql.shuffle.partitions": "2",
                "spark.default.parallelism": "2",
                "spark.sql.adaptive.enabled": "false",  # it plans each stage of a job anew
                "spark.sql.codegen.wholeStage": "false",
                "spark.sql.codegen.factoryMode": "NO_CODEGEN",
                "spark.driver.memory": "2g",
                "spark.driver.extraJavaOptions": short_lived_jvm(),
                "spark.driver.host": "127.0.0.1",
                "spark.driver.bindAddress": "127.0.0.1",
            },
        )
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def compiled(spark: SparkSession) -> Iterator[None]:
    """Plans are compiled, as they are outside tests, and one that does not compile is an error and no line in a log."""
    asked = {
        "spark.sql.codegen.wholeStage": "true",
        "spark.sql.codegen.factoryMode": "CODEGEN_ONLY",
        "spark.sql.codegen.fallback": "false",
    }
    with settings_for_a_while(spark, asked):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the session is a Spark test. The longest files go first: none waits for them alone."""
    items.sort(key=lambda item: item.path.name not in ("test_pipeline.py", "test_cluster.py"))
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)
