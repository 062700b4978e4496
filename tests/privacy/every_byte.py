"""A search that knows nothing of the product: every byte below a folder, Parquet decoded too, packed files unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq


def places_of(folder: str | Path, words: Iterable[str]) -> list[str]:
    """Files below the folder whose name or content, in any of its forms, holds one of the words in UTF-8 or UTF-16."""
    spelled = [word.encode(encoding) for word in words for encoding in ("utf-8", "utf-16-le")]
    found = []
    for path in sorted(Path(folder).rglob("*")):
        forms = [str(path.relative_to(folder)).encode()]
        if path.is_file():
            forms += contents(path.read_bytes())
        if any(word in form for form in forms for word in spelled):
            found.append(str(path))
    return found


def contents(content: bytes) -> Iterator[bytes]:
    """The bytes as they are, and in every form that they can be unpacked to."""
    yield content
    if content[:4] == b"PAR1":
        for name, column in zip(pq.read_table(io.BytesIO(content)).column_names, columns(content), strict=True):
            yield name.encode() + b"\0" + column
        yield str(pq.read_metadata(io.BytesIO(content)).metadata).encode()
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            for part in package.namelist():
                yield part.encode()
                yield from contents(package.read(part))
    for head, unpack in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\x78", zlib.decompress)):
        if content.startswith(head):
            try:
                yield from contents(unpack(content))
            except (OSError, zlib.error):
                continue


def columns(content: bytes) -> Iterator[bytes]:
    for column in pq.read_table(io.BytesIO(content)).columns:
        yield "\0".join(str(value) for value in column.to_pylist()).encode()
