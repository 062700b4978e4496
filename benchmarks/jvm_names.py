"""Building plans with the look-ups of JVM names kept, as in every session of this project, and as PySpark does it."""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.harness import figure, median_ratio, medians, paired_seconds, report
from recsys_spark.contracts.config import SessionConfig
from recsys_spark.jvm_names import CLASSES, PACKAGES, keep_names
from recsys_spark.session import get_session

EXPRESSIONS, REPETITIONS = 500, 11


def build() -> None:
    """Expressions as stages have them: columns, literals, functions, lists of columns."""
    for number in range(EXPRESSIONS):
        F.when(F.col("a") > number, F.coalesce(F.col("b"), F.lit(number))).otherwise(F.greatest("c", "d"))


def build_as_pyspark_does(session: SparkSession) -> None:
    """The same without what is kept."""
    for name in (*CLASSES, *PACKAGES):
        vars(session._jvm).pop(name, None)
    build()


def build_with_names_kept(session: SparkSession) -> None:
    keep_names(session)
    build()


def main() -> None:
    """Report the ratio of the times."""
    session = get_session(SessionConfig(conf={"spark.master": "local[2]", "spark.ui.enabled": "false"}))
    contenders = {
        "pyspark": lambda: build_as_pyspark_does(session),
        "kept": lambda: build_with_names_kept(session),
    }
    seconds = paired_seconds(contenders, REPETITIONS)
    ratio = median_ratio(seconds["kept"], seconds["pyspark"])
    report("jvm_names", [figure("jvm_names.time_over_pyspark", ratio, "< 1.0", seconds=medians(seconds))])
    session.stop()


if __name__ == "__main__":
    main()
