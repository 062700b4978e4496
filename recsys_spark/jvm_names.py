"""PySpark's names of JVM classes, looked up once."""

from __future__ import annotations

from contextlib import suppress

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

# What PySpark asks for at each call of a function, each list of columns, each type.
_CLASSES = ("Column", "PythonUtils", "SimplePythonFunction", "SparkSession", "SparkSession$", "functions")
_PACKAGES = ("java", "org", "py4j")


def keep_names(session: SparkSession) -> None:
    """Have the session's view of the JVM keep what PySpark asks of it all the time.

    Py4J keeps no answer: a name is tried in one imported package after the other, and each miss goes over all jars of
    the class path, half a millisecond for every function of a plan.
    """
    view = getattr(session, "_jvm", None)
    for name in (*_CLASSES, *_PACKAGES):
        if view is not None and name not in vars(view):
            with suppress(Py4JError):  # a name of another version of Spark, or one that a cluster does not give out
                setattr(view, name, getattr(view, name))
