"""What can be told of a file without Spark: its digest, its size, the rows that its footer states."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

import fsspec
import pyarrow.parquet as pq

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.manifest import FileEntry
from recsys_spark.paths import filesystem

_FOOTER_READERS = 16
_SMALL_BYTES = 32 << 20  # of a table whose digests the driver takes itself: sooner done than a Spark job is started


def sha256_in(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """Digest of a file's bytes."""
    digest = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of(path: str | Path) -> str:
    """The same of a path of any file system; it is the content that a file's manifest states."""
    return sha256_in(*filesystem(str(path)))


def size_and_rows(fs: fsspec.AbstractFileSystem, path: str) -> tuple[int, int]:
    """Bytes and rows of a Parquet file; raises ArtifactError for a damaged footer."""
    size = fs.size(path)
    try:
        with fs.open(path, "rb") as file:
            return size, pq.read_metadata(file).num_rows
    except Exception as error:  # whatever pyarrow makes of it
        raise ArtifactError(f"{path} is damaged: {error}") from error


def part_paths(fs: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    """The part files of a table, ascending."""
    return sorted(path for path in fs.find(folder) if path.endswith(".parquet"))


def part_entries(
    fs: fsspec.AbstractFileSystem, folder: str, digests_by_spark: Callable[[], dict[str, str]] | None
) -> tuple[FileEntry, ...]:
    """The part files of a table with sizes and rows and, where digests are asked for, these as well.

    digests_by_spark: takes those of a large table, by path; None asks for no digest.
    """
    paths = part_paths(fs, folder)
    digests: dict[str, str] = {}
    with ThreadPoolExecutor(_FOOTER_READERS) as readers:
        stats = list(readers.map(partial(size_and_rows, fs), paths))
        if digests_by_spark and sum(size for size, _ in stats) <= _SMALL_BYTES:
            digests = dict(zip(paths, readers.map(partial(sha256_in, fs), paths), strict=True))
    if digests_by_spark and not digests:
        digests = digests_by_spark()
    by_name = {PurePosixPath(path).name: digest for path, digest in digests.items()}
    names = [PurePosixPath(path).name for path in paths]
    return tuple(
        FileEntry(name, size, rows, by_name.get(name, "")) for name, (size, rows) in zip(names, stats, strict=True)
    )
