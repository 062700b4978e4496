"""A StageIO that keeps frames in memory, to run a stage's `run` on small frames."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.frames import conform


class MemoryIO:
    """The verbs of StageIO over a dictionary from label to frame or values."""

    def __init__(self, spark: SparkSession, **artifacts: Any) -> None:
        self.spark = spark
        self.held: dict[str, Any] = {}
        self.held.update(artifacts)

    def give(self, artifact: Artifact, value: Any, **keys: str) -> MemoryIO:
        """Put an artifact there before the stage runs."""
        self.held[artifact.path_of(**keys)] = value
        return self

    def has(self, artifact: Artifact, **keys: str) -> bool:
        return artifact.path_of(**keys) in self.held

    def read(self, artifact: Artifact, **keys: str) -> DataFrame:
        return self.held[artifact.path_of(**keys)]

    read_json = read

    def write(self, artifact: Artifact, frame: DataFrame, **keys: str) -> int:
        assert artifact.schema is not None
        kept = conform(frame, artifact.schema, artifact.name).localCheckpoint()
        self.held[artifact.path_of(**keys)] = kept
        return kept.count()

    def write_json(self, artifact: Artifact, values: dict[str, Any], **keys: str) -> None:
        self.held[artifact.path_of(**keys)] = values

    def materialise(self, name: str, frame: DataFrame, partition_by: str | None = None) -> DataFrame:
        return frame.localCheckpoint()
