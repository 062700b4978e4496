"""What is looked at before a workbook or a .gz is unpacked: is it whole, readable, and as large as it says?

A workbook is a zip of XML parts. Its directory says how large each part is; a forged one lies. So the directory is
held against the limits first, then every part is inflated once in small pieces and thrown away: only a file that
keeps its word reaches the readers, which hold whole parts in memory. Nothing is ever written to disk.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import BinaryIO

_OLE = bytes.fromhex("d0cf11e0a1b11ae1")  # compound file: an .xls of 1997 to 2003, or an encrypted workbook
_ZIP = b"PK\x03\x04"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")  # ECMA-376 encryption, MS-OFFCRYPTO 2.3.4.4
_GRACE_BYTES = 100 << 20  # unpacked; below it no ratio does harm
_MAX_PARTS = 10_000
_PIECE = 1 << 20
_LOCAL_HEADER_BYTES = 30
_IS_ENCRYPTED = 0x1
_DOCTYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("ascii", "utf-16-le", "utf-16-be"))

_HEAD_BYTES = 4096  # of a sheet's XML; its extent stands before the first row
_MOST_CELLS = 1 << 28  # 256 columns of all rows that there are

FAR_CELL = (
    "has a sheet whose last cell ({cell}) lies too far out for calamine; delete the rows and columns behind the lines "
    "and save it, or set ingest.engine to openpyxl"
)
_SAVE_ANEW = "open it in a spreadsheet program and save it anew"
_IF_TRUE = "if it is genuine, raise {key}"


class BadPackageError(Exception):
    """Why a file cannot be read and what to do, to stand behind its name."""


@dataclass(frozen=True)
class UnpackLimits:
    """max_bytes: unpacked, of all parts. max_ratio: unpacked over packed, from _GRACE_BYTES on."""

    max_bytes: int
    max_ratio: int

    def check(self, unpacked: int, packed: int, word: str) -> None:
        """Raise BadPackageError for sizes beyond the limits. word: how the size is known."""
        if unpacked > self.max_bytes:
            key = _IF_TRUE.format(key="ingest.max_unpacked_bytes")
            raise BadPackageError(f"{word} {unpacked:,} bytes unpacked, more than {self.max_bytes:,}; {key}")
        self.check_ratio(unpacked, packed, word)

    def check_ratio(self, unpacked: int, packed: int, word: str) -> None:
        """Raise BadPackageError for a ratio beyond the limit."""
        if unpacked > _GRACE_BYTES and unpacked > self.max_ratio * packed:
            key = _IF_TRUE.format(key="ingest.max_unpacked_ratio")
            ratio = unpacked // max(packed, 1)
            raise BadPackageError(f"{word} {ratio:,} times its packed size, more than {self.max_ratio:,}; {key}")


def check_workbook(file: BinaryIO, limits: UnpackLimits) -> None:
    """Raise BadPackageError for a workbook that is encrypted, cut off, damaged, or larger than it may be.

    Leaves the file at its start. What is neither a zip nor a compound file is left to the engine to name.
    """
    head = file.read(len(_OLE))
    if head == _OLE and any(_ENCRYPTED_STREAM in piece for piece in _overlapping(_rest(file), _ENCRYPTED_STREAM)):
        raise BadPackageError("is encrypted with a password; save it without one")
    if head.startswith(_ZIP):
        _check_zip(file, limits)
    file.seek(0)


def check_extents(file: BinaryIO) -> None:
    """Raise BadPackageError for a sheet of .xlsx whose last cell lies absurdly far out; of a checked workbook.

    calamine keeps a sheet as one rectangle: a stray cell XFD1048576 asks for 512 GiB, and the process ends.
    """
    if file.read(len(_ZIP)) == _ZIP:
        with zipfile.ZipFile(file) as package:
            for name in package.namelist():
                if re.fullmatch(r"xl/worksheets/[^/]+\.xml", name):
                    with package.open(name) as part:
                        _check_extent(part.read(_HEAD_BYTES))
    file.seek(0)


def _check_extent(head: bytes) -> None:
    stated = re.search(rb'<(?:\w+:)?dimension ref="(?:[A-Z]+\d+:)?([A-Z]+)(\d+)"', head)
    if stated is None:
        return
    width = reduce(lambda number, letter: number * 26 + letter - ord("@"), stated[1], 0)
    if width * int(stated[2]) > _MOST_CELLS:
        raise BadPackageError(FAR_CELL.format(cell=f"cell {(stated[1] + stated[2]).decode()}"))


def check_gzip(file: BinaryIO, limits: UnpackLimits) -> None:
    """Raise BadPackageError for a .gz that is cut off, damaged or unpacks beyond all proportion."""
    packed = unpacked = 0
    inflate = None
    for piece in _rest(file):
        packed += len(piece)
        while piece:
            inflate = inflate or zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                unpacked += len(inflate.decompress(piece, _PIECE))
            except zlib.error as error:
                raise BadPackageError(f"is no whole gzip file: {error}; fetch it again") from None
            limits.check_ratio(unpacked, packed, "unpacks to")
            piece = inflate.unused_data.lstrip(b"\0") if inflate.eof else inflate.unconsumed_tail
            inflate = None if inflate.eof else inflate
    if inflate is not None or not packed:
        raise BadPackageError("is cut off: its last block is missing; fetch it again")


def _check_zip(file: BinaryIO, limits: UnpackLimits) -> None:
    try:
        with zipfile.ZipFile(file) as package:
            parts = package.infolist()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise BadPackageError(f"is cut off or damaged: {error}; copy it again, or {_SAVE_ANEW}") from None
    packed = file.seek(0, 2)
    _check_directory(parts, packed, limits)
    for part in parts:
        _check_part(file, part)


def _check_directory(parts: list[zipfile.ZipInfo], packed: int, limits: UnpackLimits) -> None:
    if len(parts) > _MAX_PARTS:
        raise BadPackageError(f"has {len(parts):,} parts, more than {_MAX_PARTS:,}; {_SAVE_ANEW}")
    if sum(part.compress_size for part in parts) > packed:
        raise BadPackageError(f"is forged: its parts overlap; {_SAVE_ANEW}")
    for part in parts:
        if part.flag_bits & _IS_ENCRYPTED:
            raise BadPackageError("is an encrypted zip; save it without a password")
        if ".." in part.filename.replace("\\", "/").split("/"):
            raise BadPackageError(f"is forged: a part is named {part.filename!r}; {_SAVE_ANEW}")
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadPackageError(f"packs {part.filename!r} in a way that workbooks do not; {_SAVE_ANEW}")
    limits.check(sum(part.file_size for part in parts), packed, "says that it holds")


def _check_part(file: BinaryIO, part: zipfile.ZipInfo) -> None:
    """Inflate a part in pieces: no more than it declares, with its checksum, and without a document type."""
    is_xml = part.filename.lower().endswith((".xml", ".rels", ".vml"))
    size = checksum = 0
    kept = b""
    try:
        for piece in _inflated(file, part):
            size += len(piece)
            if size > part.file_size:
                raise BadPackageError(f"is forged: {part.filename!r} is larger than the file says; {_SAVE_ANEW}")
            checksum = zlib.crc32(piece, checksum)
            # A workbook has no document type (ECMA-376-2, 10.1.2); its entities may stand for gigabytes.
            if is_xml and any(word in kept + piece for word in _DOCTYPES):
                raise BadPackageError(f"is forged: {part.filename!r} declares XML entities; {_SAVE_ANEW}")
            kept = piece[-32:]
    except zlib.error as error:
        raise BadPackageError(f"is damaged in {part.filename!r}: {error}; copy it again, or {_SAVE_ANEW}") from None
    if size < part.file_size or checksum != part.CRC:
        raise BadPackageError(f"is damaged in {part.filename!r}; copy it again, or {_SAVE_ANEW}")


def _inflated(file: BinaryIO, part: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of a part in pieces. Not by zipfile, which stops where the directory says that the part ends."""
    file.seek(part.header_offset)
    header = file.read(_LOCAL_HEADER_BYTES)
    if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(_ZIP):
        raise BadPackageError(f"is damaged: {part.filename!r} is not where the file says; {_SAVE_ANEW}")
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    packed = _rest(file, part.compress_size)
    if part.compress_type == zipfile.ZIP_STORED:
        yield from packed
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in packed:
        while piece:
            yield inflate.decompress(piece, _PIECE)
            piece = inflate.unconsumed_tail
    yield inflate.flush()


def _rest(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """What follows in a file, in pieces; at most `size` bytes."""
    while size is None or size > 0:
        piece = file.read(_PIECE if size is None else min(_PIECE, size))
        if not piece:
            return
        size = None if size is None else size - len(piece)
        yield piece


def _overlapping(pieces: Iterator[bytes], word: bytes) -> Iterator[bytes]:
    """The pieces, each with as much of the one before as the word could begin in."""
    kept = b""
    for piece in pieces:
        yield kept + piece
        kept = piece[-len(word) :]
