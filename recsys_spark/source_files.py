"""Files outside the root that a stage reads: found by path, folder or glob, and told apart by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.file_facts import sha256_in
from recsys_spark.paths import filesystem, is_glob
from recsys_spark.small_files import is_local

SOURCE = "source:"  # begins the names of inputs that are no artifacts
# Above this a file is told by size and time of change: reading it all to learn that nothing changed costs too much.
_HASHED_BYTES = 1 << 30
# What stores state that moves with the content, in the order of preference: fsspec's of S3 spells them ETag and
# LastModified, that of Azure etag and last_modified, that of a disk mtime.
_FACTS_OF_CHANGE = ("mtime", "etag", "lastmodified")


def expand(patterns: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    """Files that the paths, folders and globs name, sorted, each once.

    A folder means its files with one of the suffixes. Of a folder or glob, what is hidden (`.`, `_`) and Excel's lock
    files (`~$`) are left out, and so are files in hidden folders below it; a file that is named is taken whatever its
    name. Raises ConfigError for a path that does not exist and for a folder or glob without a file.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        fs, plain = filesystem(pattern)
        if fs.isdir(plain):
            folder, given = plain.rstrip("/"), pattern.rstrip("/")
            paths = [path for path in fs.find(plain) if path.lower().endswith(suffixes)]
        elif fs.exists(plain):  # before the signs of a glob: they may be part of a name
            found.setdefault(plain, fs.unstrip_protocol(plain) if is_local(fs) else pattern)
            continue
        elif is_glob(pattern):
            folder, given = _before_glob(plain), _before_glob(pattern)
            paths = [path for path in fs.glob(plain) if fs.isfile(path)]
        else:
            raise ConfigError(f"'{pattern}' does not exist; give a file, a folder or a glob")
        visible = [path for path in paths if not any(map(_is_hidden, path.removeprefix(folder).split("/")))]
        if not visible:
            raise ConfigError(f"'{pattern}' holds no file that ends in {', '.join(suffixes)}")
        # The location as it was given: what fsspec makes of one of an object store may lack the account.
        root = fs.unstrip_protocol(folder) if is_local(fs) else given
        for path in visible:
            found.setdefault(path, root + path.removeprefix(folder))
    return sorted(found.values())


def passed_over(patterns: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    """Files below the folders among the patterns that `expand` leaves out and somebody may miss, sorted.

    They are of another format, such as `feb.ods`, or of one of the formats and begin with `_`, such as `_may.xlsx`.
    What begins with `.` or `~$` is none of them, nor is a mark such as `_SUCCESS`, nor what lies in a hidden folder.
    """
    missed: set[str] = set()
    for pattern in patterns:
        fs, plain = filesystem(pattern)
        if not fs.isdir(plain):
            continue
        folder = plain.rstrip("/")
        root = fs.unstrip_protocol(folder) if is_local(fs) else pattern.rstrip("/")
        for path in fs.find(plain):
            below = path.removeprefix(folder)
            *folders, name = below.split("/")
            is_read = path.lower().endswith(suffixes)
            # Either a hidden file of a format, or a file of none that is not hidden.
            if not any(map(_is_hidden, folders)) and not name.startswith(("~$", ".")) and is_read == _is_hidden(name):
                missed.add(root + below)
    return sorted(missed)


def _before_glob(path: str) -> str:
    return "/".join(takewhile(lambda part: not is_glob(part), path.split("/")))


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is none of data; `_year=2011` is a column with its value, as Spark has it."""
    return name.startswith(("~$", ".")) or (name.startswith("_") and "=" not in name)


@dataclass(frozen=True)
class SourceState:
    """Source files as they were when a stage began.

    digests: by `source:<path>`; see `source_digests`. facts: size and time of change by path, taken before the digest;
    empty where the store does not tell of changes.
    """

    digests: dict[str, str]
    facts: dict[str, str]

    @staticmethod
    def of(paths: Iterable[str]) -> SourceState:
        """The state now."""
        facts = {path: _size_and_change(path) for path in paths}
        return SourceState(source_digests(facts), facts)

    def require_unchanged(self) -> None:
        """Raise DataError for a file that is no longer as it was: its lines may be of two versions."""
        for path, facts in self.facts.items():
            try:
                if (facts and _size_and_change(path) == facts) or _digest(path) == self.digests[SOURCE + path]:
                    continue
            except FileNotFoundError:
                pass
            raise DataError(f"'{path}' changed while it was read; run again once it is complete")


def source_digests(paths: Iterable[str]) -> dict[str, str]:
    """`source:<path>` -> digest of the content, or of size and time for very large ones where the store has a time."""
    return {SOURCE + path: _digest(path) for path in paths}


def is_source(name: str) -> bool:
    """Whether an input of a stage is given from outside, rather than an artifact."""
    return name.startswith(SOURCE)


def _size_and_change(path: str) -> str:
    """What moves when a file is replaced; empty where the store states no such thing."""
    fs, plain = filesystem(path)
    fs.invalidate_cache()
    info = fs.info(plain)
    changed = _facts_of_change(info)
    return f"{info['size']} {changed} {info.get('ino')}" if changed else ""


def _digest(path: str) -> str:
    fs, plain = filesystem(path)
    info = fs.info(plain)
    changed = _facts_of_change(info)
    if info["size"] > _HASHED_BYTES and changed:
        return hashlib.sha256(f"{info['size']} {changed[0]}".encode()).hexdigest()[:32]
    return sha256_in(fs, plain)[:32]


def _facts_of_change(info: Mapping[str, Any]) -> list[Any]:
    """Those facts of a file that move with its content, whichever way the store spells them."""
    known = {name.lower().replace("_", ""): value for name, value in info.items()}
    return [known[fact] for fact in _FACTS_OF_CHANGE if known.get(fact)]
