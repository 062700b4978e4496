"""What trainers read and write beside the rows of the reader, on any file system that fsspec knows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds

from recsys_spark.contracts.locations import is_on_disk, python_path


def located(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a path, and the path as that spells it."""
    fs, plain = fsspec.core.url_to_fs(python_path(path))
    return fs, plain


def dataset(path: str) -> ds.Dataset:
    """A published table."""
    fs, plain = located(path)
    return ds.dataset(plain, filesystem=fs, format="parquet")


def read_table(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A published table that fits into memory."""
    return dataset(path).to_table(columns=None if columns is None else list(columns))


def read_text(path: str) -> str | None:
    """The text of a file, None where there is none."""
    fs, plain = located(path)
    return fs.cat_file(plain).decode() if fs.exists(plain) else None


@contextmanager
def folder_on_disk(target: str | Path) -> Iterator[Path]:
    """A folder for files that are to lie in `target`: itself, or one aside whose files are copied there at the end.

    What an object store or a mount keeps is written from first to last byte, which a memory-mapped array is not.
    """
    path = str(target)
    if is_on_disk(path):
        folder = Path(python_path(path))
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    aside = Path(tempfile.mkdtemp(prefix="recsys_"))
    try:
        yield aside
        fs, plain = located(path)
        fs.makedirs(plain, exist_ok=True)
        for file in sorted(aside.iterdir()):
            fs.put_file(str(file), f"{plain.rstrip('/')}/{file.name}")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
