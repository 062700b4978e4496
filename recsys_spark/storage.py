"""The one place that reads and writes artifacts: schema check, manifest, atomic publish, verification."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from recsys_spark.contracts.errors import ArtifactError, ConfigError
from recsys_spark.contracts.schemas import Table
from recsys_spark.file_facts import part_entries, sha256_in
from recsys_spark.frames import conform, empty_frame
from recsys_spark.manifest import SUFFIX, FileEntry, Manifest, content_of, require_rows
from recsys_spark.part_files import TablesKernel, parts_of, parts_of_tables, written_tables
from recsys_spark.paths import filesystem, place_below, put_text, python_path, require_own_folder, spark_glob, spark_uri
from recsys_spark.privacy.forgotten import LIST as FORGOTTEN
from recsys_spark.session import SessionSource, end_own, started
from recsys_spark.small_files import move, read_json, write_whole

MARKER = "_recsys.json"  # tells a root of ours from a folder that holds something else
STAGING = "_staging"
CHECKPOINTS = "_checkpoints"
_STAGES = "_stages"


class Storage:
    """Artifacts under one root. `label` is an artifact's path below that root.

    An artifact is staged aside, moved into place, and only then gets its manifest. What has no manifest does not
    exist for a reader, so a writer killed at any moment leaves nothing that could be taken for whole.

    require_held: raises where another process has taken the root over; asked before whatever others would see. writer:
    names the folder of what this process stages, so that one that lost the root writes beside its successor.
    """

    def __init__(
        self,
        root: str,
        spark: SessionSource = None,
        require_held: Callable[[], None] = lambda: None,
        writer: str = "",
    ) -> None:
        self._session, self.require_held, self._writer = spark, require_held, writer
        self._fs, self._base = filesystem(root)
        self._uri = spark_uri(root).rstrip("/")
        self._place = python_path(root).rstrip("/")  # absolute, and with its scheme: good on every node
        self.root = root

    @property
    def spark(self) -> SparkSession:
        """The session, which starts when it is first asked for."""
        self._session = started(self._session)
        return self._session

    def end_tasks(self) -> None:
        """Stop the session where this process began it, so that no task writes any more."""
        if isinstance(self._session, SparkSession):
            end_own(self._session)

    def open_root(self) -> None:
        """Create the root, or check that it is ours. Raises ConfigError where it holds something else."""
        require_own_folder(self._base)
        if self._fs.exists(self._at(MARKER)):
            return
        is_file = self._fs.isfile(self._base)
        held = [] if is_file or not self._fs.exists(self._base) else self._fs.ls(self._base, detail=False)
        if is_file or any(PurePosixPath(path).name != FORGOTTEN for path in held):
            raise ConfigError(f"paths.processed '{self.root}' already holds something else; name a new folder")
        self._fs.makedirs(self._base, exist_ok=True)
        self._write_text(MARKER, json.dumps({"format": 1}))

    @property
    def location(self) -> str:
        """The root as Python opens it."""
        return self._place

    # Manifests and stage records

    def manifest(self, label: str) -> Manifest | None:
        """The manifest of an artifact, None where there is none or where it is damaged."""
        try:
            return Manifest.from_json(self._fs.cat_file(self._at(label + SUFFIX)).decode())
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def require(self, label: str, verify: str = "size") -> Manifest:
        """The manifest of a whole artifact; raises ArtifactError where it is missing or not what that says.

        verify: `size` holds files, sizes and row counts against the manifest, `full` every byte as well.
        """
        manifest = self.manifest(label)
        if manifest is None:
            raise ArtifactError(f"{self._at(label)} is missing or was not finished; run the stage that writes it")
        again = f"run stage '{manifest.stage}' again with --force"
        try:
            found = self._entries(label, manifest.kind, with_digest=verify == "full")
        except ArtifactError as error:
            raise ArtifactError(f"{error}; {again}") from error
        expected = manifest.files if verify == "full" else tuple(replace(entry, sha256="") for entry in manifest.files)
        if found != expected:
            names = sorted({entry.name for entry in set(found) ^ set(expected)})
            raise ArtifactError(f"{self._at(label)} differs from its manifest in {', '.join(names)}; {again}")
        return manifest

    def stage_record(self, stage: str) -> dict[str, Any] | None:
        """What the last complete run of a stage left, None if there was none."""
        return read_json(self._fs, self._at(f"{_STAGES}/{stage}.json"))

    def write_stage_record(self, stage: str, record: dict[str, Any]) -> None:
        """Replace the record of a stage."""
        self.require_held()
        self._write_text(f"{_STAGES}/{stage}.json", json.dumps(record, indent=1, sort_keys=True))

    # Reading

    def read_table(self, label: str, schema: Table, verify: str = "size") -> DataFrame:
        """A published table. Raises ArtifactError where its columns are not those of this version."""
        self.path(label, verify, schema)
        return self.spark.read.schema(schema.ddl).parquet(spark_glob(f"{self._uri}/{label}"))

    def read_json(self, label: str, verify: str = "size") -> dict[str, Any]:
        """A published JSON artifact."""
        values: dict[str, Any] = json.loads(self.read_text(label, verify))
        return values

    def read_text(self, label: str, verify: str = "size") -> str:
        """A published document as it is written."""
        return str(self._fs.cat_file(self.path(label, verify)).decode())

    def path(self, label: str, verify: str = "size", schema: Table | None = None) -> str:
        """Where a published artifact lies, as Python opens it; of a table whose columns are those of `schema`."""
        manifest = self.require(label, verify)
        if schema is not None and manifest.schema != schema.ddl:
            raise ArtifactError(
                f"{self._at(label)} has the columns of another version; run stage '{manifest.stage}' again"
            )
        return self._below(label)

    # Writing: each returns a manifest that lacks its provenance; `publish` takes the completed one

    def stage_table(self, stage: str, label: str, frame: DataFrame, schema: Table) -> Manifest:
        """Write a table aside. Row count and fingerprint come out of the same pass as the data."""
        conformed = conform(frame, schema, label)
        # The frame itself and not its selection, as only the one that `map_batches` made is known to it.
        written = self._write_by_tasks(stage, label, frame) if frame.columns == schema.names else None
        rows, row_hash = written or self._write_by_spark(stage, label, conformed)
        return self._staged_manifest(stage, label, "table", schema.ddl, rows, content_of(rows, row_hash))

    def stage_tables(
        self, stage: str, tables: Mapping[str, Table], source: DataFrame, kernel: TablesKernel
    ) -> dict[str, Manifest]:
        """Write several tables aside in one pass over `source`: the kernel says of each batch which it belongs to.

        tables: schemas by label, in the order of the kernel's numbers.
        """
        labels = list(tables)
        empty = [empty_frame(self.spark, schema) for schema in tables.values()]
        schemas = [to_arrow_schema(frame.schema) for frame in empty]
        folders = [self._below(self._staged(stage, label)) for label in labels]
        written = self._written(stage, labels, parts_of_tables(source, kernel, schemas, folders))
        staged = {}
        for label, nothing, found in zip(labels, empty, written, strict=True):
            if found is None:
                staged[label] = self.stage_table(stage, label, nothing, tables[label])
            else:
                content = content_of(*found)
                staged[label] = self._staged_manifest(stage, label, "table", tables[label].ddl, found[0], content)
        return staged

    def stage_text(self, stage: str, label: str, text: str) -> Manifest:
        """Write a text file aside."""
        return self.stage_file(stage, label, lambda path: put_text(text, path), kind="json")

    def stage_file(self, stage: str, label: str, write: Callable[[str], None], kind: str = "file") -> Manifest:
        """Let `write(path)` make a file aside."""
        staged = self._staged(stage, label)
        self._fs.makedirs(str(PurePosixPath(self._at(staged)).parent), exist_ok=True)
        write(self._below(staged))
        return self._staged_manifest(stage, label, kind, None, None, None)

    def publish(self, stage: str, label: str, manifest: Manifest) -> None:
        """Move a staged artifact into place; its manifest comes last."""
        self.require_held()
        target = self._at(label)
        for outdated in (target + SUFFIX, target):  # the manifest first: a half removed artifact must not be read
            if self._fs.exists(outdated):
                self._fs.rm(outdated, recursive=True)
        self._fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        move(self._fs, self._at(self._staged(stage, label)), target)
        self._write_text(label + SUFFIX, manifest.to_json())

    def materialise(self, stage: str, name: str, frame: DataFrame, partition_by: str | None = None) -> DataFrame:
        """Write an intermediate frame to the stage's scratch folder and read it back; gone when the stage ends."""
        label = self._staged(stage, f"scratch/{name}")
        frame.write.mode("overwrite").parquet(f"{self._uri}/{label}", partitionBy=partition_by)
        return self.spark.read.schema(frame.schema).parquet(spark_glob(f"{self._uri}/{label}"))

    def scratch(self, stage: str, name: str) -> str:
        """A path in the stage's scratch space, as Spark and Python open it; nothing lies there yet."""
        return self._below(self._staged(stage, f"scratch/{name}"))

    def checkpoint_folder(self, stage: str, name: str) -> str:
        """Where a stage keeps what a killed run goes on from, as Python opens it."""
        return self._below(f"{CHECKPOINTS}/{stage}/{name}")

    def drop_checkpoints(self, stage: str) -> None:
        """Remove them: the stage is done, and the next time begins anew."""
        self._remove(CHECKPOINTS, stage)

    def sweep(self, stage: str) -> None:
        """Remove what a stage staged and did not publish."""
        self._remove(STAGING, stage)

    def _remove(self, folder: str, stage: str) -> None:
        """Remove a stage's part of a folder, and the folder where that was all."""
        self.require_held()
        if self._fs.exists(self._at(f"{folder}/{stage}")):
            self._fs.rm(self._at(f"{folder}/{stage}"), recursive=True)
        with suppress(OSError):  # another stage still has its part there
            self._fs.rmdir(self._at(folder))

    # Internals

    def _write_by_spark(self, stage: str, label: str, frame: DataFrame) -> tuple[int, int]:
        seen = Observation()
        fingerprint = F.bit_xor(F.xxhash64(*frame.columns))
        observed = frame.observe(seen, F.count(F.lit(1)).alias("rows"), fingerprint.alias("hash"))
        observed.write.mode("overwrite").parquet(f"{self._uri}/{self._staged(stage, label)}")
        return seen.get["rows"], seen.get["hash"] or 0

    def _write_by_tasks(self, stage: str, label: str, frame: DataFrame) -> tuple[int, int] | None:
        """Rows and fingerprint of a frame of `map_batches`; None, and nothing written, for others and without rows."""
        parts = parts_of(frame, self._below(self._staged(stage, label)))
        return None if parts is None else self._written(stage, [label], parts)[0]

    def _written(self, stage: str, labels: Sequence[str], parts: DataFrame) -> list[tuple[int, int] | None]:
        """Rows and fingerprint of each table whose part files computing `parts` writes; None for one without rows."""
        return written_tables(self._fs, [self._at(self._staged(stage, label)) for label in labels], parts)

    def _below(self, label: str) -> str:  # as Python opens it anywhere
        return place_below(self._place, label)

    def _at(self, label: str) -> str:  # as the root's own file system spells it, without scheme
        return place_below(self._base, label)

    def _staged(self, stage: str, label: str) -> str:
        self._at(label)  # raises for a label that leads elsewhere, before anything is written
        return str(PurePosixPath(STAGING, stage, self._writer, label))

    def _staged_manifest(
        self, stage: str, label: str, kind: str, ddl: str | None, rows: int | None, content: str | None
    ) -> Manifest:
        files = self._entries(self._staged(stage, label), kind, with_digest=True)
        require_rows(files, rows, f"stage '{stage}' wrote {label}")
        return Manifest(
            artifact=label,
            kind=kind,
            stage=stage,
            schema=ddl,
            rows=rows,
            bytes=sum(entry.bytes for entry in files),
            content=content or files[0].sha256,
            files=files,
        )

    def _entries(self, label: str, kind: str, with_digest: bool) -> tuple[FileEntry, ...]:
        if kind == "table":
            by_spark = partial(self._digests_by_executors, label)
            return part_entries(self._fs, self._at(label), by_spark if with_digest else None)
        path = self._at(label)
        size = self._fs.size(path) if self._fs.exists(path) else 0
        return (FileEntry(PurePosixPath(label).name, size, None, sha256_in(self._fs, path) if with_digest else ""),)

    def _digests_by_executors(self, label: str) -> dict[str, str]:
        """Digest of each part file by its path; Spark reads a binary file of up to 2 GiB."""
        parts = self.spark.read.format("binaryFile").option("pathGlobFilter", "*.parquet")
        digest = parts.load(spark_glob(f"{self._uri}/{label}")).select("path", F.sha2("content", 256).alias("sha256"))
        try:
            found = digest.collect()
        except Exception as error:  # the file system's own checksums failed first
            raise ArtifactError(f"{self._at(label)} has a part file that cannot be read whole") from error
        return {row["path"]: row["sha256"] for row in found}

    def _write_text(self, label: str, text: str) -> None:
        write_whole(self._fs, self._at(label), text.encode())
