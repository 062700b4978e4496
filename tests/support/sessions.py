"""What sessions of tests have in common."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyspark.sql import SparkSession

from tests.support.class_archive import class_archive


def short_lived_jvm() -> str:
    """Options of a JVM that lives for minutes, and spends most of them loading classes and compiling what runs a few
    times: the classes of an archive and the first compiler are enough.

    By default that compiler has 48 MB for its code, and Spark runs more: it is swept out and compiled again. And two
    thirds of the heap are for what lives long, of which there is little.
    """
    memory = "-XX:+UseSerialGC -XX:NewRatio=1 -XX:NewSize=128m -XX:ReservedCodeCacheSize=240m"
    return f"-XX:TieredStopAtLevel=1 {memory} -XX:SharedArchiveFile={class_archive()}"


def listen_to_ctrl_c() -> None:
    """For `preexec_fn`: a child of a job in the background would ignore SIGINT, as its parents do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def settings_for_a_while(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Settings of the session that all tests share, as they were before afterwards."""
    before = {name: spark.conf.get(name) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, str(value))
