"""What can be told of a file without Spark: its digest, its size, the rows that its footer states."""

from __future__ import annotations

import hashlib

import fsspec
import pyarrow.parquet as pq

from recsys_spark.contracts.errors import ArtifactError


def sha256_in(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """Digest of a file's bytes."""
    digest = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def size_and_rows(fs: fsspec.AbstractFileSystem, path: str) -> tuple[int, int]:
    """Bytes and rows of a Parquet file; raises ArtifactError for a damaged footer."""
    size = fs.size(path)
    try:
        with fs.open(path, "rb") as file:
            return size, pq.read_metadata(file).num_rows
    except Exception as error:  # whatever pyarrow makes of it
        raise ArtifactError(f"{path} is damaged: {error}") from error
