"""Takes customers out of what runs left behind."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.artifacts import INGEST_REPORT, RAW_LINES
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.manifest import SUFFIX, Manifest
from recsys_spark.paths import filesystem, spark_glob
from recsys_spark.privacy.entry import KEY_FACT
from recsys_spark.privacy.holders import labels_with_customers, own_files, run_folders
from recsys_spark.privacy.search import Wanted
from recsys_spark.source_files import SOURCE
from recsys_spark.storage import Storage

_STAGE = "forget"


@dataclass
class Removed:
    """What was taken out of one run folder. lines: of raw_lines; key: fingerprint of its pseudonyms' key, if any."""

    folder: str
    lines: int = 0
    key: str | None = None
    deleted: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def require_runs(storage: Storage) -> None:
    """Raise ConfigError for a root that holds no run, before anything is written there."""
    fs, base = filesystem(storage.root)
    run_folders(fs, base.rstrip("/"))


def remove(storage: Storage, wanted: Wanted) -> list[Removed]:
    """Take customers out of all run folders below a root.

    A folder without them stays as it is. Where they are, raw_lines is rewritten without their lines and whatever else
    has rows of single customers is deleted: the indices of all who come behind them change, so it is out of date as a
    whole. A removal that is interrupted is done again by the same call, for raw_lines is rewritten last.
    """
    root = storage.root.rstrip("/")
    fs, base = filesystem(root)
    folders = run_folders(fs, base)
    # The root as it was given: what fsspec makes of a location of an object store may lack the account.
    runs = [Storage(root + folder.removeprefix(base), storage.spark) for folder in folders]
    return [_remove_from(run, folder, folders, wanted) for run, folder in zip(runs, folders, strict=True)]


def _remove_from(storage: Storage, folder: str, folders: Sequence[str], wanted: Wanted) -> Removed:
    fs, _ = filesystem(storage.root)
    labels = labels_with_customers(own_files(fs, folder, folders))
    raw, report = (storage.manifest(artifact.path) for artifact in (RAW_LINES, INGEST_REPORT))
    removed = Removed(folder, key=next((known for known in map(_key_of, (raw, report)) if known), None))
    if raw is not None:
        removed.sources = [name.removeprefix(SOURCE) for name in raw.inputs if "://" in name]
    tables = [label for label in (*labels, RAW_LINES.path) if fs.exists(f"{folder}/{label}")]
    if not any(_occurs(storage, label, wanted) for label in tables if label.endswith(".parquet")):
        return removed
    for label in labels:
        _delete(storage, folder, label)
        removed.deleted.append(label)
    if raw is not None:
        removed.lines = _rewrite_raw_lines(storage, folder, wanted)
    return removed


def _key_of(manifest: Manifest | None) -> str | None:
    return manifest.inputs.get(SOURCE + KEY_FACT) if manifest is not None else None


def _occurs(storage: Storage, label: str, wanted: Wanted) -> bool:
    """Whether a table has rows of the customers. One that cannot be read is taken to have some."""
    try:
        table = storage.spark.read.parquet(spark_glob(f"{storage.root}/{label}"))
    except Exception:  # a damaged one: whatever Spark makes of it
        return True
    return "customer_id" in table.columns and not table.filter(wanted.column_is_one(F.col("customer_id"))).isEmpty()


def _delete(storage: Storage, folder: str, label: str) -> None:
    """Delete an artifact, its manifest first, and the copy that tasks of this machine made of it."""
    fs, _ = filesystem(storage.root)
    place, manifest = f"{folder}/{label}", storage.manifest(label)
    if manifest is not None:
        FittedFile(place, manifest.content).copy.unlink(missing_ok=True)
    for path in (place + SUFFIX, place):
        with suppress(FileNotFoundError):
            fs.rm(path, recursive=True)


def _record(storage: Storage, rewritten: Manifest) -> None:
    """Let the stage that wrote an artifact stand for it as it is now, so that later stages can be made from it."""
    record = storage.stage_record(rewritten.stage)
    if record is not None:
        outputs = {**record["outputs"], rewritten.artifact: rewritten.content}
        storage.write_stage_record(rewritten.stage, {**record, "outputs": outputs})


def _rewrite_raw_lines(storage: Storage, folder: str, wanted: Wanted) -> int:
    """Publish raw_lines without the customers' lines; returns how many they were. One of another version is deleted."""
    manifest = storage.manifest(RAW_LINES.path)
    assert manifest is not None
    assert RAW_LINES.schema is not None
    try:
        lines: DataFrame = storage.read_table(RAW_LINES.path, RAW_LINES.schema)
    except ArtifactError:
        _delete(storage, folder, RAW_LINES.path)
        return manifest.rows or 0
    kept = lines.filter(~wanted.column_is_one(F.col("customer_id")))
    staged = storage.stage_table(_STAGE, RAW_LINES.path, kept, RAW_LINES.schema)
    gone = (manifest.rows or 0) - (staged.rows or 0)
    if gone:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        note = f"{gone:,} lines of forgotten customers were taken out on {now}; {manifest.note}".rstrip("; ")
        rewritten = replace(
            manifest, files=staged.files, rows=staged.rows, bytes=staged.bytes, content=staged.content, note=note
        )
        storage.publish(_STAGE, RAW_LINES.path, rewritten)
        _record(storage, rewritten)
    storage.sweep(_STAGE)
    return gone
