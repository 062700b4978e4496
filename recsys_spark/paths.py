"""Files at any location: the rules of spelling are those of contracts/locations.py, the rest is fsspec's."""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec import AbstractFileSystem

from recsys_spark.contracts.errors import ArtifactError, ConfigError
from recsys_spark.contracts.locations import is_on_disk as is_on_disk
from recsys_spark.contracts.locations import python_path as python_path
from recsys_spark.contracts.locations import spark_uri as spark_uri


def filesystem(path: str) -> tuple[AbstractFileSystem, str]:
    """The fsspec file system of a path and the path as that file system spells it."""
    fs, plain = fsspec.core.url_to_fs(python_path(path))
    return fs, plain


def is_below(path: str, folder: str) -> bool:
    """Whether a path as Python spells it lies in a folder, symbolic links of this machine followed.

    >>> is_below("/data/run/x", "/data/run"), is_below("/data/run2", "/data/run"), is_below("s3://b/r/x", "s3://b/r")
    (True, False, True)
    """
    inner, outer = (each if "://" in each else os.path.realpath(each) for each in (path, folder))
    return (inner.rstrip("/") + "/").startswith(outer.rstrip("/") + "/")


def require_own_folder(root: str) -> None:
    """Raise ConfigError for a root, as Python spells it, in which a run must not make itself at home."""
    place = root if "://" in root else os.path.realpath(root)
    if place in ("/", os.path.realpath(os.path.expanduser("~"))):  # noqa: PTH111  beside realpath
        raise ConfigError(f"paths.processed '{root}' is no folder of its own; name an empty or a new folder below it")


def place_below(base: str, label: str) -> str:
    """Where a label lies below a root, both as Python spells them.

    Raises ArtifactError for a label that could lead elsewhere: an absolute one, one with `..`, an empty part, a
    backslash or a NUL character, and one that a symbolic link below the root turns away.

    >>> place_below("/data/run", "fit=val/index.faiss")
    '/data/run/fit=val/index.faiss'
    """
    parts = label.split("/")
    if not set(parts).isdisjoint(("", ".", "..")) or "\\" in label or "\0" in label:
        raise ArtifactError(f"{label!r} is no name of an artifact: it must be a plain path below {base}")
    place = base.rstrip("/")
    for part in parts:
        place = f"{place}/{part}"
        if os.path.islink(place):  # noqa: PTH114  a path of any file system
            raise ArtifactError(f"{place} is a symbolic link; remove it: artifacts lie below {base} themselves")
    return place


def is_glob(path: str) -> bool:
    """Whether the path holds wildcards."""
    return glob.has_magic(path)


def spark_glob(path: str) -> str:
    r"""A file or folder as Spark's readers take it: they see a pattern, so signs of a pattern in its name are escaped.

    >>> print(spark_glob("/data/[new] shop"))
    file:///data/\[new\] shop
    """
    return re.sub(r"([\[\]{}*?])", r"\\\1", spark_uri(path))


def put_file(source: str, target: str) -> None:
    """Copy a local file to a path of any file system."""
    fs, plain = filesystem(target)
    fs.put_file(source, plain)


def put_text(text: str, target: str) -> None:
    """Write a text to a path of any file system."""
    fs, plain = filesystem(target)
    fs.pipe_file(plain, text.encode())


def fetch(source: str, target: str) -> None:
    """Copy a file, or all files of a folder, of any file system to a path of this machine's disk."""
    fs, plain = filesystem(source)
    for file in fs.find(plain):  # `fs.get` takes brackets in a path for a pattern
        place = Path(target + file[len(plain.rstrip("/")) :])
        place.parent.mkdir(parents=True, exist_ok=True)
        fs.get_file(file, str(place))


@contextmanager
def on_disk(folder: str) -> Iterator[str]:
    """A folder as one on this machine's disk: itself, or a copy that is gone at the end."""
    if is_on_disk(folder):
        yield python_path(folder)
        return
    copy = tempfile.mkdtemp(prefix="recsys_")
    try:
        fetch(folder, copy)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)
