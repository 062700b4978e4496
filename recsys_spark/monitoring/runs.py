"""The runs that are held against each other, and what of them was looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.command_line import storage_of
from recsys_spark.contracts.artifacts import EVALUATION, Artifact
from recsys_spark.contracts.errors import ArtifactError, ConfigError
from recsys_spark.evaluation.runs import Run
from recsys_spark.paths import filesystem, is_below
from recsys_spark.storage import MARKER


@dataclass(frozen=True)
class SeenRun(Run):
    """A run that remembers the fingerprint of everything that was read of it, by label. verify: as for storage."""

    seen: dict[str, str] = field(default_factory=dict)
    verify: str = "size"

    def has(self, artifact: Artifact, **keys: str) -> bool:
        """Whether the run holds the artifact, in the columns of this version."""
        manifest = self.storage.manifest(artifact.path_of(**keys))
        return manifest is not None and (artifact.schema is None or manifest.schema == artifact.schema.ddl)

    def table(self, artifact: Artifact, **keys: str) -> DataFrame:
        """A table artifact of the run."""
        self._see(artifact.path_of(**keys))
        return super().table(artifact, **keys)

    def file(self, artifact: Artifact, **keys: str) -> FittedFile:
        """A file artifact of the run, for tasks."""
        label = artifact.path_of(**keys)
        self._see(label)
        return FittedFile(self.storage.path(label), self.seen[label])

    def document(self, artifact: Artifact) -> dict[str, Any]:
        """A JSON artifact of the run."""
        self._see(artifact.path)
        return self.storage.read_json(artifact.path)

    def best_model(self, protocol: str) -> str | None:
        """The model that was best on val; None for a run that was not evaluated."""
        if not self.has(EVALUATION):
            return None
        self._see(EVALUATION.path)
        return str(self.evaluation()["best"][protocol])

    def _see(self, label: str) -> None:
        self.seen[label] = self.storage.require(label, self.verify).content


def lacks(reference: SeenRun, current: SeenRun, *artifacts: Artifact, **keys: str) -> str:
    """What the runs lack of the artifacts, as `recsys forget` takes some out; an empty text where nothing."""
    runs = {"reference": reference, "current": current}
    missing = [
        f"the {side} run has no {artifact.path_of(**keys)}"
        for side, run in runs.items()
        for artifact in artifacts
        if not run.has(artifact, **keys)
    ]
    return missing[0] if missing else ""


def earlier_run(name: str, spark: SparkSession, verify: str = "size") -> SeenRun:
    """The current run of a root, or the run of a folder of artifacts. Raises ConfigError where there is none."""
    try:
        storage = storage_of(name, spark)
    except ArtifactError as error:
        raise ConfigError(f"monitor.against '{name}' is no run ({error}); give the folder of a finished one") from None
    fs, plain = filesystem(storage.root)
    if not fs.exists(f"{plain.rstrip('/')}/{MARKER}"):
        raise ConfigError(f"monitor.against '{name}' is no run: it has no {MARKER}; give the folder of a finished one")
    return SeenRun(storage, verify=verify)


def require_another(earlier: SeenRun, own: SeenRun, name: str) -> None:
    """Raise ConfigError where both runs are one folder, links followed: nothing would have moved, whatever happened."""
    (_, first), (_, second) = filesystem(earlier.storage.root), filesystem(own.storage.root)
    if is_below(first, second) and is_below(second, first):
        raise ConfigError(
            f"monitor.against '{name}' is the very run that is looked at; give the folder of an earlier one, such as "
            "<paths.processed>/runs/<id>"
        )
