"""A fault of Spark or of the machine is told by its cause, in one line."""

from __future__ import annotations

import errno
import os

import pytest
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from recsys_spark.contracts.errors import DataError
from recsys_spark.error_causes import cause_in_one_line

ABORTED = (
    "An error occurred while calling o1.parquet.\n: org.apache.spark.SparkException: Job aborted due to stage failure: "
)
LOST = "Task 1 in stage 6.0 failed 1 times, most recent failure: Lost task 1.0 in stage 6.0 (TID 6) (host driver): "
TRACE = "\n\tat org.apache.spark.Some.where(Some.scala:1)\n"


class Py4JJavaError(Exception):
    """As Py4J prints its own, which only a JVM can make."""


def told_of(text: str) -> str:
    return cause_in_one_line(Py4JJavaError(text))


def test_a_full_disk_is_named_wherever_it_is_met():
    cause = f"{TRACE}Caused by: java.io.IOException: No space left on device{TRACE}"
    shuffle = f"{ABORTED}{LOST}java.io.IOException: No space left on device{TRACE}"
    written = f"{ABORTED}{LOST}org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed.{cause}"
    outer = RuntimeError("unable to write")
    outer.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for told in (told_of(shuffle), told_of(written), cause_in_one_line(outer)):
        assert told.startswith("no space left on a disk: make room where paths.processed and spark.local.dir")
        assert told.endswith("then the same command goes on")


def test_the_innermost_cause_of_a_java_error_is_told():
    cause = f"{TRACE}Caused by: org.apache.parquet.io.ParquetDecodingException: cannot read a value{TRACE}"
    told = told_of(f"{ABORTED}{LOST}org.apache.spark.SparkException: outer{cause}")
    assert told == "ParquetDecodingException: cannot read a value"


def test_without_a_cause_the_lost_task_tells_else_what_was_thrown():
    assert told_of(f"{ABORTED}{LOST}java.io.EOFException: odd{TRACE}") == "EOFException: odd"
    plain = f"An error occurred while calling o1.x.\n: java.lang.IllegalStateException: stopped{TRACE}"
    assert told_of(plain) == "IllegalStateException: stopped"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ABORTED}{LOST}java.lang.OutOfMemoryError: Java heap space{TRACE}", "spark.driver.memory"),
        (f"{ABORTED}{LOST}ExecutorLostFailure (executor 1 exited){TRACE}", "a JVM of Spark ended"),
        ("Answer from Java side is empty", "a JVM of Spark ended"),
    ],
)
def test_want_of_memory_and_lost_processes_are_named(text, said):
    assert said in told_of(text)


def test_an_error_of_python_is_told_by_its_first_line():
    assert cause_in_one_line(ValueError("\n odd\nmore")) == "ValueError: odd"
    assert cause_in_one_line(ValueError()) == "ValueError: no message"
    assert cause_in_one_line(DataError("no date parses")) == "DataError: no date parses"


@pytest.mark.spark
def test_what_a_python_task_raises_is_told_as_it_was_raised(spark):
    def fail(batches):
        raise DataError("line 7: 'x' is no number")
        yield

    with pytest.raises((PySparkException, Py4JError)) as caught:
        spark.range(2).mapInArrow(fail, "id long").collect()
    assert cause_in_one_line(caught.value) == "DataError: line 7: 'x' is no number"


@pytest.mark.spark
def test_what_a_task_of_the_jvm_throws_is_told(spark):
    with pytest.raises((PySparkException, Py4JError)) as caught:
        spark.range(2).select(F.raise_error(F.lit("odd line"))).collect()
    assert "odd line" in cause_in_one_line(caught.value)


@pytest.mark.spark
def test_a_python_worker_that_dies_is_named(spark):
    def die(batches):
        os.kill(os.getpid(), 9)
        yield from batches

    with pytest.raises((PySparkException, Py4JError)) as caught:
        spark.range(2).mapInArrow(die, "id long").collect()
    assert cause_in_one_line(caught.value).startswith("a Python worker of Spark ended in the middle of a task")
