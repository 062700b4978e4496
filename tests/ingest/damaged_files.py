"""Real files that are damaged, encrypted or forged."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

from msoffcrypto.format.ooxml import OOXMLFile

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE sst [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + ']><sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>&i;</t></si></sst>'
)


def encrypt(workbook: str, target: Path) -> str:
    """The workbook behind a password, as Excel saves it: a compound file with an encrypted package."""
    with Path(workbook).open("rb") as plain, target.open("w+b") as encrypted:
        OOXMLFile(plain).encrypt("secret", encrypted)
    return str(target)


def cut(path: str, target: Path, share: float = 0.5) -> str:
    """The first part of a file."""
    content = Path(path).read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    return str(target)


def with_part(workbook: str, target: Path, name: str, content: bytes) -> str:
    """The workbook with a part replaced, or added."""
    with zipfile.ZipFile(workbook) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for part in source.infolist():
            if part.filename != name:
                package.writestr(part.filename, source.read(part))
        package.writestr(name, content)
    return str(target)


def forge_size(workbook: str, target: Path, name: str, size: int, checksum_of: bytes | None = None) -> str:
    """The workbook whose directory states another size for a part, and the checksum of other bytes."""
    content = bytearray(Path(workbook).read_bytes())
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        part = package.getinfo(name)
    at = content.find(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(name)] != name.encode():
        at = content.find(b"PK\x01\x02", at + 4)
    for field in (at + 24, part.header_offset + 22):  # in the directory, and before the part
        content[field : field + 4] = struct.pack("<I", size)
    if checksum_of is not None:
        for field in (at + 16, part.header_offset + 14):
            content[field : field + 4] = struct.pack("<I", zlib.crc32(checksum_of))
    target.write_bytes(content)
    return str(target)
