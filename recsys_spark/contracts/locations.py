"""How one location is spelled for Spark, for Python, and for Petastorm; trainers and Spark jobs share these rules.

| given | Spark | Python, fsspec | Petastorm |
|---|---|---|---|
| `/data/x`, `file:///data/x` | `file:///data/x` | `/data/x` | `file:///data/x` |
| `/Volumes/c/s/v` (Databricks) | `/Volumes/c/s/v` | `/Volumes/c/s/v` | `file:///Volumes/c/s/v` |
| `dbfs:/x`, `/dbfs/x` (Databricks) | `dbfs:/x` | `/dbfs/x` | `file:///dbfs/x` |
| `s3://b/x`, `abfss://c@account/x` | as given | as given | refused: engine `arrow` reads it |
"""

from __future__ import annotations

import os

from recsys_spark.contracts.errors import ConfigError

_MOUNTED = ("/dbfs/", "/Volumes/")


def spark_uri(path: str) -> str:
    """A URI that Spark reads; a path without scheme is a local file, not one of the cluster's default store.

    Databricks mounts `/Volumes` and `/dbfs`: file paths to Python, which Spark knows by other names.

    >>> spark_uri("/data/x"), spark_uri("s3://b/x"), spark_uri("/Volumes/c/s/v"), spark_uri("/dbfs/x")
    ('file:///data/x', 's3://b/x', '/Volumes/c/s/v', 'dbfs:/x')
    """
    if path.startswith("file:"):
        return spark_uri(python_path(path))
    if path.startswith("/dbfs/"):
        return "dbfs:/" + path.removeprefix("/dbfs/")
    if path.startswith("dbfs:/Volumes/"):
        return path.removeprefix("dbfs:")
    if path.startswith(("dbfs:/", "/Volumes/")) or "://" in path:
        return path
    return "file://" + _absolute(path)  # not percent-encoded: Spark takes %20 for a name with a per cent sign


def python_path(path: str) -> str:
    """The spelling that Python and fsspec open.

    >>> python_path("dbfs:/x"), python_path("dbfs:/Volumes/c/s/v"), python_path("file:///data/x"), python_path("s3://b/x")
    ('/dbfs/x', '/Volumes/c/s/v', '/data/x', 's3://b/x')
    """
    if path.startswith("dbfs:/"):
        below = path.removeprefix("dbfs:/").lstrip("/")
        return "/" + below if below.startswith("Volumes/") else "/dbfs/" + below
    if path.startswith("file:"):
        return "/" + path.removeprefix("file:").lstrip("/")
    return path if "://" in path else _absolute(path)


def petastorm_url(path: str) -> str:
    """The URL that Petastorm opens. Raises ConfigError for an object store, which it reads by pyarrow before 11 alone.

    >>> petastorm_url("/data/x"), petastorm_url("dbfs:/x"), petastorm_url("/Volumes/c/s/v")
    ('file:///data/x', 'file:///dbfs/x', 'file:///Volumes/c/s/v')
    """
    found = python_path(path)
    if "://" in found:
        raise ConfigError(f"engine petastorm reads local files, not {path}; use engine arrow")
    return f"file://{found}"


def is_on_disk(path: str) -> bool:
    """Whether a path is a file of the machine: neither of an object store nor of one that Databricks mounts.

    What is mounted takes no writes but one after the other, so files that are written otherwise are made aside.

    >>> [is_on_disk(path) for path in ("/data/x", "/dbfs/x", "dbfs:/Volumes/c/s/v", "s3://b/x")]
    [True, False, False, False]
    """
    found = python_path(path)
    return "://" not in found and not found.startswith(_MOUNTED)


def _absolute(path: str) -> str:
    home = path == "~" or path.startswith("~/")  # no shell expands it in a config file or behind --set KEY=
    # Not Path.absolute, which keeps `..`: one file must have one name.
    return os.path.abspath(os.path.expanduser(path) if home else path)  # noqa: PTH100, PTH111
