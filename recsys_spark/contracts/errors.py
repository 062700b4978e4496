"""What can go wrong, and the exit code each kind of fault ends a job with."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_OTHER = 1
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_GATE = 4
EXIT_INTERRUPTED = 130


class PipelineError(Exception):
    """Base of every error whose message is written for the person who runs the job."""

    exit_code = EXIT_OTHER


class ConfigError(PipelineError):
    """A key, a value, a path or an argument that the user gave cannot be used."""

    exit_code = EXIT_USAGE


class LockedError(PipelineError):
    """Another process works on the same run. Nothing is wrong with config or data: give the command again later."""

    exit_code = EXIT_USAGE


class StageGraphError(PipelineError):
    """A stage touched an artifact that it did not declare, or the stages do not fit together."""

    exit_code = EXIT_USAGE


class DataError(PipelineError):
    """Source data breaks the contract: a missing column, no date that parses, no line left."""

    exit_code = EXIT_DATA


class SchemaError(DataError):
    """A frame lacks columns of its table, or has them in another type."""


class ArtifactError(DataError):
    """An artifact is missing, half written, or not what its manifest says."""


class TrainingError(PipelineError):
    """Training cannot go on: its loss is no number, or a process of it failed."""


class GateError(PipelineError):
    """A quality gate of the config was missed."""

    exit_code = EXIT_GATE
