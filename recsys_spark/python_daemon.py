"""Spark's Python daemon, whose workers start their tasks with less to do. For a session whose JVM this process starts.

Around each task a worker drops the caches of the import system and collects garbage. Spark puts its archives on the
path, and Python 3.10 to 3.12 then read 13 directories of zip files anew (70 ms of processor time); the collection goes
over the objects of all loaded modules (50 ms). So this daemon leaves the archives out where pyspark is installed, loads
what tasks on Arrow batches need before it forks, and freezes it: a job of two empty tasks takes 0.14 s instead of 0.4.
"""

from __future__ import annotations

import gc
import sys
from importlib.machinery import PathFinder


def leave_out_archives() -> None:
    """Take zip and jar files off the module path, unless pyspark or py4j would be missing without them."""
    folders = [entry for entry in sys.path if not entry.endswith((".zip", ".jar"))]
    if all(PathFinder.find_spec(name, folders) for name in ("pyspark", "py4j")):
        sys.path[:] = folders
        sys.path_importer_cache.clear()


if __name__ == "__main__":
    leave_out_archives()

    import pandas  # noqa: F401
    import pyarrow  # noqa: F401
    import pyspark.worker  # noqa: F401
    from pyspark.daemon import manager

    gc.freeze()
    manager()
