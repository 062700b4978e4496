"""The list of forgotten customers: salted hashes of ids, from which `ingest` knows whose lines to leave out.

It lies as `_forgotten.json` in a root and holds for all runs below that root. The salt stands beside the hashes: who
has the file can test a guess, as someone can who has the source files; an id cannot be read from it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.manifest import digest_of
from recsys_spark.paths import filesystem
from recsys_spark.privacy.customer_ids import normal_id
from recsys_spark.small_files import write_whole

LIST = "_forgotten.json"
_LEVELS = 4  # folders above a root that are looked into: runs/<name>/folds/<number> is that deep below its root


@dataclass(frozen=True)
class SaltedHashes:
    """One list. hashes: HMAC-SHA256(salt, normal id), hexadecimal."""

    salt: str
    hashes: frozenset[str] = frozenset()

    def hash_of(self, text: str) -> str:
        """What the list holds for an id."""
        return hmac.new(self.salt.encode(), normal_id(text).encode(), hashlib.sha256).hexdigest()

    def __contains__(self, text: str) -> bool:
        return self.hash_of(text) in self.hashes


@dataclass(frozen=True)
class Forgotten:
    """All lists that hold for a root."""

    lists: tuple[SaltedHashes, ...] = ()

    def __contains__(self, text: str) -> bool:
        return any(text in each for each in self.lists)

    def __bool__(self) -> bool:
        return any(each.hashes for each in self.lists)

    @property
    def digest(self) -> str:
        """Changes whenever a customer is added."""
        return digest_of([[each.salt, sorted(each.hashes)] for each in self.lists])


def load_forgotten(root: str) -> Forgotten:
    """The lists in a root and in the folders above it. Raises ArtifactError for a damaged one."""
    fs, base = filesystem(root)
    folders = [str(folder) for folder in (PurePosixPath(base), *PurePosixPath(base).parents)][: _LEVELS + 1]
    found = [f"{folder.rstrip('/')}/{LIST}" for folder in folders if folder != "."]  # above a bucket is nothing
    return Forgotten(tuple(_read(root, path) for path in found if fs.exists(path)))


def add_forgotten(root: str, ids: Iterable[str]) -> int:
    """Add customers to the list of a root; returns how many are new. A kill leaves the old list or the new one.

    Call it with the root locked: of two at once one would lose its customers.
    """
    fs, base = filesystem(root)
    path = f"{base.rstrip('/')}/{LIST}"
    held = _read(root, path) if fs.exists(path) else SaltedHashes(secrets.token_hex(16))
    hashes = held.hashes | {held.hash_of(text) for text in ids}
    text = json.dumps({"format": 1, "salt": held.salt, "hashes": sorted(hashes)}, indent=1)
    write_whole(fs, path, text.encode())
    return len(hashes - held.hashes)


def _read(root: str, path: str) -> SaltedHashes:
    fs, _ = filesystem(root)
    try:
        told = json.loads(fs.cat_file(path))
        assert told["format"] == 1
        return SaltedHashes(str(told["salt"]), frozenset(told["hashes"]))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise ArtifactError(
            f"{path} is damaged, so that forgotten customers would come back ({type(error).__name__}); restore it"
        ) from error
