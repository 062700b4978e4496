"""The shape every stage has, what it may touch, and how it is run."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.code_version import __version__, code_digest
from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ArtifactError, LockedError, StageGraphError
from recsys_spark.freshness import ABSENT, facts_of, is_fresh, recipe_of, sections_of
from recsys_spark.manifest import Manifest, digest_of, library_versions
from recsys_spark.part_files import TablesKernel
from recsys_spark.plurals import as_size
from recsys_spark.source_files import SourceState
from recsys_spark.storage import Storage

Metrics = dict[str, Any]
log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Stage:
    """One job. `sections` names the config sections it uses, `sources` the files outside the root that it reads.

    facts: digests, by name, of what else decides what comes out, such as a secret that no manifest may hold.
    """

    name: str
    reads: tuple[Artifact, ...]
    writes: tuple[Artifact, ...]
    sections: tuple[str, ...]
    run: Callable[[StageIO, PipelineConfig], Metrics]
    sources: Callable[[PipelineConfig], list[str]] | None = None
    facts: Callable[[PipelineConfig], dict[str, str]] | None = None

    @property
    def module(self) -> str:
        """Importable name of the job; Python calls a job that was started as a script `__main__`."""
        name = self.run.__module__
        return f"jobs.{self.name}" if name == "__main__" else name


@dataclass
class StageIO:
    """Serves a stage the artifacts it declared, and remembers what it read and wrote."""

    stage: Stage
    storage: Storage
    config: PipelineConfig
    verify: str = "size"
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    sources: SourceState = field(default_factory=lambda: SourceState({}, {}))
    _started: float = field(default_factory=time.monotonic)

    @property
    def spark(self) -> SparkSession:
        return self.storage.spark

    @property
    def run_folder(self) -> str:
        """Where the run lies, as Python opens it: for what is no artifact and stays."""
        return self.storage.location

    def read(self, artifact: Artifact, **keys: str) -> DataFrame:
        """A table artifact."""
        label = self._input(artifact, **keys)
        assert artifact.schema is not None
        return self.storage.read_table(label, artifact.schema, self.verify)

    def has(self, artifact: Artifact, **keys: str) -> bool:
        """Whether an optional artifact is there; a stage that asked runs again once the answer changes."""
        label = self._declared(artifact, self.stage.reads, "reads").path_of(**keys)
        is_there = self.storage.manifest(label) is not None
        if not is_there:
            self.inputs[label] = ABSENT
        return is_there

    def read_json(self, artifact: Artifact, **keys: str) -> dict[str, Any]:
        """A JSON artifact."""
        return self.storage.read_json(self._input(artifact, **keys), self.verify)

    def path(self, artifact: Artifact, **keys: str) -> str:
        """Where an artifact that another program opens lies."""
        return self.storage.path(self._input(artifact, **keys), self.verify, artifact.schema)

    def path_and_content(self, artifact: Artifact, **keys: str) -> tuple[str, str]:
        """The path and the fingerprint of what lies there, for tasks that keep what they load."""
        path = self.path(artifact, **keys)
        manifest = self.storage.manifest(artifact.path_of(**keys))
        assert manifest is not None
        return path, manifest.content

    def write(self, artifact: Artifact, frame: DataFrame, **keys: str) -> int:
        """Publish a table; returns its number of rows."""
        label = self._declared(artifact, self.stage.writes, "writes").path_of(**keys)
        assert artifact.schema is not None
        manifest = self._publish(label, self.storage.stage_table(self.stage.name, label, frame, artifact.schema))
        return manifest.rows or 0

    def write_tables(
        self, artifacts: Sequence[Artifact], source: DataFrame, kernel: TablesKernel, **keys: str
    ) -> list[int]:
        """Publish several tables that one pass over `source` makes; returns the rows of each.

        kernel: yields, of each batch, the place of its table in `artifacts` and its rows.
        """
        labels = [self._declared(artifact, self.stage.writes, "writes").path_of(**keys) for artifact in artifacts]
        schemas = {label: artifact.schema for label, artifact in zip(labels, artifacts, strict=True) if artifact.schema}
        staged = self.storage.stage_tables(self.stage.name, schemas, source, kernel)
        return [self._publish(label, staged[label]).rows or 0 for label in labels]

    def write_json(self, artifact: Artifact, values: dict[str, Any], **keys: str) -> None:
        """Publish a JSON artifact."""
        label = self._declared(artifact, self.stage.writes, "writes").path_of(**keys)
        text = json.dumps(values, indent=1, ensure_ascii=False, default=str)
        self._publish(label, self.storage.stage_text(self.stage.name, label, text))

    def write_file(self, artifact: Artifact, write: Callable[[str], None], **keys: str) -> None:
        """Publish the file that `write(path)` makes."""
        label = self._declared(artifact, self.stage.writes, "writes").path_of(**keys)
        self._publish(label, self.storage.stage_file(self.stage.name, label, write))

    def materialise(self, name: str, frame: DataFrame, partition_by: str | None = None) -> DataFrame:
        """Keep an intermediate frame on disk until the stage ends: computed once, read as often as needed."""
        return self.storage.materialise(self.stage.name, name, frame, partition_by)

    def num_rows(self, artifact: Artifact, **keys: str) -> int:
        """Rows of a table artifact, as its manifest states them."""
        manifest = self.storage.manifest(self._input(artifact, **keys))
        assert manifest is not None
        assert manifest.rows is not None
        return manifest.rows

    def scratch(self, name: str) -> str:
        """A path where nothing lies yet, that every process of the stage reaches; gone when the stage ends."""
        return self.storage.scratch(self.stage.name, name)

    def checkpoint_folder(self, name: str) -> str:
        """A folder that outlives a killed stage, and goes when it is done. Other code finds another folder."""
        return self.storage.checkpoint_folder(self.stage.name, f"{code_digest(self.stage.module)}/{name}")

    def _input(self, artifact: Artifact, **keys: str) -> str:
        allowed = self.stage.reads + self.stage.writes  # a stage may read back what it wrote
        label = self._declared(artifact, allowed, "reads").path_of(**keys)
        if label not in self.outputs:
            manifest = self.storage.manifest(label)
            if manifest is None:
                raise ArtifactError(f"stage '{self.stage.name}' needs {label}, which no finished stage has written")
            self.inputs[label] = manifest.content
        return label

    def _declared(self, artifact: Artifact, allowed: tuple[Artifact, ...], verb: str) -> Artifact:
        if artifact not in allowed:
            raise StageGraphError(f"stage '{self.stage.name}' {verb} '{artifact.name}' without declaring it")
        return artifact

    def _publish(self, label: str, staged: Manifest) -> Manifest:
        manifest = dataclasses.replace(
            staged,
            inputs={label: content for label, content in sorted(self.inputs.items()) if content != ABSENT},
            config=sections_of(self.stage, self.config),
            config_digest=digest_of(sections_of(self.stage, self.config)),
            code_version=__version__,
            code_digest=code_digest(self.stage.module),
            libraries=library_versions(),
            seed=self.config.seed,
            seconds=round(time.monotonic() - self._started, 3),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        self.sources.require_unchanged()
        self.storage.publish(self.stage.name, label, manifest)
        self.outputs[label] = manifest.content
        return manifest


@dataclass(frozen=True)
class Outcome:
    """What running a stage came to."""

    stage: str
    skipped: bool
    metrics: Metrics
    seconds: float


def run_stage(
    stage: Stage,
    config: PipelineConfig,
    storage: Storage,
    force: bool = False,
    verify: str = "size",
    measure: Callable[[], dict[str, Any]] = dict,
) -> Outcome:
    """Run a stage, or skip it where its last record matches inputs, config and code and its outputs are whole.

    measure: what else the log is told of a stage that ran, such as its peak memory.
    """
    started = time.monotonic()
    storage.open_root()
    sources = SourceState.of(stage.sources(config) if stage.sources else ())
    given = sources.digests | facts_of(stage, config)
    recipe = recipe_of(stage, config, given)
    record = storage.stage_record(stage.name)
    if not force and record is not None and is_fresh(record, recipe, storage, verify):
        log.info("%s: up to date", stage.name, extra={"facts": {"stage": stage.name, "event": "up to date"}})
        return Outcome(stage.name, True, record["metrics"], 0.0)
    io = StageIO(stage, storage, config, verify, inputs=dict(given), sources=sources)
    with _swept(storage, stage.name):
        try:
            metrics = stage.run(io, config)
        except Exception:
            sources.require_unchanged()  # the likelier cause of whatever came of it
            raise
    seconds = round(time.monotonic() - started, 1)
    storage.write_stage_record(
        stage.name,
        {"recipe": recipe, "inputs": io.inputs, "outputs": io.outputs, "metrics": metrics, "seconds": seconds},
    )
    storage.drop_checkpoints(stage.name)
    facts = ", ".join(f"{name} {value:,}" for name, value in metrics.items() if isinstance(value, int))
    measured = measure()
    told = {"stage": stage.name, "event": "done", "seconds": seconds, "metrics": metrics, **measured}
    log.info("%s: %s (%s)", stage.name, facts or "done", _cost(seconds, measured), extra={"facts": told})
    return Outcome(stage.name, False, metrics, seconds)


def _cost(seconds: float, measured: Mapping[str, Any]) -> str:
    """Seconds, and of memory and spilling what is known.

    >>> _cost(1.25, {"peak_memory": {"total": 3 << 29}, "spilled_bytes": 0}), _cost(1.25, {"spilled_bytes": None})
    ('1.2 s, peak memory 1.5 GiB, spilled 0 B', '1.2 s')
    """
    peak, spilled = measured.get("peak_memory", {}).get("total"), measured.get("spilled_bytes")
    known = {"peak memory": peak, "spilled": spilled}
    return ", ".join(
        [f"{seconds:.1f} s", *(f"{name} {as_size(size)}" for name, size in known.items() if size is not None)]
    )


@contextmanager
def _swept(storage: Storage, stage: str) -> Iterator[None]:
    storage.sweep(stage)  # what an earlier run left when it was killed
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        storage.end_tasks()  # what goes on would write where the sweep is
        raise
    finally:
        with suppress(LockedError):  # the root is another process's by now, and so is the sweeping
            storage.sweep(stage)
