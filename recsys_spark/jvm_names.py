"""PySpark's names of JVM classes, looked up once."""

from __future__ import annotations

from contextlib import suppress

from py4j.java_gateway import JavaClass
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

# What PySpark 3.5 asks for at each call of a function, each list of columns, each type: classes, and roots of packages.
CLASSES = ("Column", "PythonUtils", "SimplePythonFunction", "SparkSession", "SparkSession$", "functions")
PACKAGES = ("java", "org", "py4j")


def keep_names(session: SparkSession) -> None:
    """Have the session's view of the JVM keep what PySpark asks of it all the time.

    Py4J keeps no answer: a name is tried in one imported package after the other, and each miss goes over all jars of
    the class path, half a millisecond for every function of a plan.
    """
    try:
        view = session._jvm
    except AttributeError:  # Spark Connect, which has none
        return
    for name in (*CLASSES, *PACKAGES):
        if name not in vars(view):
            with suppress(Py4JError):  # clusters that many share do not give out every name
                found = getattr(view, name)
                # A class of another version of Spark is taken for a package here.
                if name in PACKAGES or isinstance(found, JavaClass):
                    setattr(view, name, found)
