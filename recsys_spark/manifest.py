"""What is known of a published artifact, kept in `<path>.manifest.json` beside it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from recsys_spark.contracts.errors import ArtifactError

SUFFIX = ".manifest.json"
_LIBRARIES = ("pyspark", "pyarrow", "pandas", "numpy", "scipy", "omegaconf", "torch", "petastorm", "faiss-cpu")


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact; `rows` is null unless it is Parquet."""

    name: str
    bytes: int
    rows: int | None
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything a reader needs to trust an artifact, and a person to repeat it.

    content: fingerprint of the rows that does not depend on their order or partitioning; for other kinds the
    digest of the bytes. inputs: content of each artifact and source file that the stage had read before. note: what
    happened to it after the stage had written it.
    """

    artifact: str
    kind: str
    stage: str
    schema: str | None
    rows: int | None
    bytes: int
    content: str
    files: tuple[FileEntry, ...]
    inputs: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    config_digest: str = ""
    code_version: str = ""
    code_digest: str = ""
    libraries: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0
    created: str = ""
    note: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Manifest:
        """Raises ValueError or TypeError for a text that is no manifest."""
        values = json.loads(text)
        values["files"] = tuple(FileEntry(**entry) for entry in values["files"])
        return Manifest(**values)


def content_of(rows: int, row_hash: int) -> str:
    """The fingerprint of a table's rows, from their number and the exclusive or of their hashes."""
    return f"{rows}-{row_hash & (2**64 - 1):016x}"


def require_rows(files: Sequence[FileEntry], rows: int | None, what: str) -> None:
    """Raise ArtifactError where so many rows were written, and others lie in the files. None is not counted."""
    lying = sum(entry.rows or 0 for entry in files)
    if rows is not None and lying != rows:
        raise ArtifactError(
            f"{what} with {rows:,} rows, but {lying:,} lie in its files: another process writes there, or files were "
            "lost; run the same command again"
        )


def digest_of(value: Any) -> str:
    """Digest of a JSON-like value, equal for equal values."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def library_versions() -> dict[str, str]:
    """Versions of the libraries that results may depend on, those that are installed."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
