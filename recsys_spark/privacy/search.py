"""A search for customers through every file below a root: Parquet decoded by Spark, packed files unpacked."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.paths import filesystem, spark_glob
from recsys_spark.privacy.customer_ids import normal_id, per_text
from recsys_spark.small_files import is_local

_PIECE = 1 << 20
_TELLING_LETTERS = 6
_CHARACTERS_KEPT = 512  # of a piece, so that a word on the border to the next is seen
_UNPACK_DEPTH = 2
_WORD_LETTERS = r"\p{L}\p{N}"  # what may not stand beside a word that is found


@dataclass(frozen=True)
class Wanted:
    """ids: normal ids and pseudonyms.

    An id of six characters or more with other signs than digits stands nowhere by chance: wherever it is, it is the
    customer. A shorter one, or a number, is the customer in a column of customers; elsewhere the same text may be a
    product, an invoice or an amount.
    """

    ids: tuple[str, ...]

    @cached_property
    def groups(self) -> tuple[tuple[bool, tuple[str, ...]], ...]:
        """(whether they stand nowhere by chance, ids) of the two kinds."""
        telling = [text for text in self.ids if len(text) >= _TELLING_LETTERS and not text.isdecimal()]
        others = [text for text in self.ids if text not in telling]
        return tuple((kind, tuple(ids)) for kind, ids in ((True, telling), (False, others)) if ids)

    def column_is_one(self, column: Column) -> Column:
        """Whether a customer id, however it is spelled, is one of these; false for null."""
        wanted = frozenset(self.ids)
        return F.coalesce(per_text(lambda text: normal_id(text) in wanted, "boolean", column), F.lit(False))


@dataclass(frozen=True)
class Found:
    """is_customer: False where the same text may be something else."""

    place: str
    is_customer: bool


@dataclass(frozen=True)
class Search:
    """What was looked through, and what was found."""

    files: int
    bytes: int
    found: tuple[Found, ...]

    @property
    def left(self) -> list[str]:
        """Places that still hold a customer."""
        return sorted({each.place for each in self.found if each.is_customer})

    @property
    def alike(self) -> list[str]:
        """Places where the same text stands for what is probably something else."""
        return sorted({each.place for each in self.found if not each.is_customer} - set(self.left))


def search(spark: SparkSession, root: str, wanted: Wanted) -> Search:
    """Look for the ids in names and contents of all files below a root.

    Of a link its name alone: that of the current run leads to files below the root, which are looked at there.
    """
    fs, base = filesystem(root.rstrip("/"))
    every = [path[len(base) + 1 :] for path in sorted(fs.find(base))]
    files = [path for path in every if not (is_local(fs) and Path(base, path).is_symlink())]
    found = [Found(f"the name of {path}", kind) for path in every for kind in _kinds_in(path.encode(), wanted)]
    for table in sorted({str(PurePosixPath(path).parent) for path in files if path.endswith(".parquet")}):
        frame = spark.read.option("mergeSchema", "true").parquet(spark_glob(f"{root.rstrip('/')}/{table}"))
        found += _in_table(frame, table, wanted)
    for path in files:
        if not path.endswith(".parquet"):
            with fs.open(f"{base}/{path}", "rb") as file:
                kinds = {kind for piece in _contents(file) for kind in _kinds_in(piece, wanted)}
            found += [Found(path, kind) for kind in kinds]
    return Search(len(files), sum(fs.size(f"{base}/{path}") for path in files), tuple(found))


def _in_table(frame: DataFrame, shown: str, wanted: Wanted) -> Iterator[Found]:
    """Only the counts come back, one of each text column and kind of id."""
    texts = {name: kind for name, kind in frame.dtypes if kind in ("string", "array<string>")}
    conditions = {}
    for name, kind in texts.items():
        if name == "customer_id":
            conditions[name, True] = wanted.column_is_one(F.col(name))
            continue
        column = F.concat_ws("\0", f"`{name}`") if kind == "array<string>" else F.col(f"`{name}`")
        for is_telling, ids in wanted.groups:
            conditions[name, is_telling] = reduce(or_, (column.rlike(_java_pattern(text)) for text in ids))
    if not conditions:
        return
    counts = frame.agg(*(F.count(F.when(condition, 1)) for condition in conditions.values())).first()
    assert counts is not None  # an aggregate without keys has one row
    for (name, is_customer), rows in zip(conditions, counts, strict=True):
        if rows:
            yield Found(f"{shown}, column {name} ({rows:,} rows)", is_customer)


def _java_pattern(text: str) -> str:
    quoted = "".join(f"\\x{{{ord(letter):x}}}" for letter in text)
    return f"(?<![{_WORD_LETTERS}]){quoted}(?![{_WORD_LETTERS}])"


def _kinds_in(content: bytes, wanted: Wanted) -> list[bool]:
    """Which kinds of ids occur, as words in UTF-8 or in UTF-16 anywhere."""
    return [kind for kind, ids in wanted.groups if re.search(b"|".join(map(_bytes_pattern, ids)), content)]


def _bytes_pattern(text: str) -> bytes:
    plain, wide = re.escape(text.encode()), re.escape(text.encode("utf-16-le"))
    return b"(?<![0-9A-Za-z])" + plain + b"(?![0-9A-Za-z])|" + wide


def _contents(file: BinaryIO, depth: int = _UNPACK_DEPTH) -> Iterator[bytes]:
    """The bytes of a file in overlapping pieces, then those that it unpacks to."""
    yield from _pieces(file)
    file.seek(0)
    head = file.read(2)
    file.seek(0)
    if depth and head == b"\x1f\x8b":
        with gzip.open(file) as inner:
            yield from _contents(inner, depth - 1)  # type: ignore[arg-type]
    elif depth and head == b"PK" and zipfile.is_zipfile(file):  # .xlsx, .npz, .pt
        with zipfile.ZipFile(file) as package:
            for part in package.namelist():
                yield part.encode()
                with package.open(part) as inner:
                    yield from _contents(inner, depth - 1)  # type: ignore[arg-type]


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    kept = b""
    while piece := file.read(_PIECE):
        yield kept + piece
        kept = piece[-_CHARACTERS_KEPT:]
