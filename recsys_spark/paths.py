"""Files at any location: the rules of spelling are those of contracts/locations.py, the rest is fsspec's."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec import AbstractFileSystem

from recsys_spark.contracts.locations import is_on_disk as is_on_disk
from recsys_spark.contracts.locations import python_path as python_path
from recsys_spark.contracts.locations import spark_uri as spark_uri


def filesystem(path: str) -> tuple[AbstractFileSystem, str]:
    """The fsspec file system of a path and the path as that file system spells it."""
    fs, plain = fsspec.core.url_to_fs(python_path(path))
    return fs, plain


def is_glob(path: str) -> bool:
    """Whether the path holds wildcards."""
    return glob.has_magic(path)


def put_file(source: str, target: str) -> None:
    """Copy a local file to a path of any file system."""
    fs, plain = filesystem(target)
    fs.put_file(source, plain)


def put_bytes(content: bytes, target: str) -> None:
    """Write a file of any file system."""
    fs, plain = filesystem(target)
    with fs.open(plain, "wb") as file:
        file.write(content)


@contextmanager
def on_disk(folder: str) -> Iterator[str]:
    """A folder as one on this machine's disk: itself, or a copy that is gone at the end."""
    if is_on_disk(folder):
        yield python_path(folder)
        return
    fs, plain = filesystem(folder)
    copy = Path(tempfile.mkdtemp(prefix="recsys_"))
    try:
        for file in fs.find(plain):
            target = copy / file[len(plain) :].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            fs.get_file(file, str(target))
        yield str(copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
