"""Spark's classes as the JVM maps them into memory: a session of a minute spends much of it loading them.

The archive (Java's class data sharing: `java -Xshare:dump`) is made once for an environment, and lies in
it. A JVM that finds it made for another Java or another class path goes on without it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pyspark
from pyspark.sql import Window
from pyspark.sql import functions as F

from recsys_spark.contracts.config import SessionConfig
from recsys_spark.session import ensure_java, get_session

SPARK_HOME = Path(pyspark.__file__).parent
ARCHIVE = Path(sys.prefix) / "spark_classes.jsa"
LIST = "classes.list"
# As Spark's launcher puts it together where SPARK_CONF_DIR is not set.
CLASS_PATH = f"{SPARK_HOME}/conf/:{SPARK_HOME}/jars/*"


def class_archive() -> Path:
    """The archive, made if there is none; one process makes it and the others wait."""
    with ARCHIVE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ARCHIVE.exists():
            _make()
    return ARCHIVE


def _make() -> None:
    ensure_java()
    made = ARCHIVE.with_suffix(".new")
    environment = {name: value for name, value in os.environ.items() if name != "SPARK_CONF_DIR"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    java = Path(os.environ["JAVA_HOME"]) / "bin" / "java"
    with TemporaryDirectory() as folder:
        _run([sys.executable, "-m", "tests.support.class_archive", folder], environment)
        archive = [f"-XX:SharedClassListFile={folder}/{LIST}", f"-XX:SharedArchiveFile={made}"]
        _run([str(java), "-Xshare:dump", *archive, "-XX:+UseSerialGC", "-cp", CLASS_PATH], environment)
    made.replace(ARCHIVE)


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, (
        f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    )


def _load_classes(folder: str) -> None:
    """A session that does a little of what stages do; the classes that it loads are listed in the folder."""
    conf = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.extraJavaOptions": f"-Xshare:off -XX:DumpLoadedClassList={folder}/{LIST}",
    }
    spark = get_session(SessionConfig(conf=conf))
    lines = spark.range(100).select("id", (F.col("id") % 7).alias("key"), F.array("id").alias("ids"))
    ordered = lines.withColumn("place", F.row_number().over(Window.partitionBy("key").orderBy("id")))
    sums = lines.groupBy("key").agg(F.sum("id").alias("sum"), F.collect_list("id").alias("all"))
    joined = ordered.join(sums, "key").withColumn("time", F.timestamp_seconds("id"))
    joined.write.parquet(f"{folder}/lines.parquet")
    read = spark.read.parquet(f"{folder}/lines.parquet").select("id", "key", F.explode("ids").alias("each"))
    read.mapInPandas(_same, "id long, key long, each long").orderBy("key", F.desc("id")).toPandas()
    read.groupBy("key").applyInPandas(_same, "id long, key long, each long").distinct().collect()
    read.write.option("header", True).csv(f"{folder}/lines.csv")
    spark.read.option("header", True).csv(f"{folder}/lines.csv").filter(F.col("id").rlike("1")).count()
    spark.stop()


def _same(given: object) -> object:
    """A frame, or an iterator of frames."""
    return given


if __name__ == "__main__":
    _load_classes(sys.argv[1])
