"""Source files that cannot be read: the first ends the job, or all are left out and told."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from recsys_spark.contracts.errors import BadFileError

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class BadFile:
    """problem: why the file cannot be read and what to do, to stand behind its name."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{PurePosixPath(self.path).name} {self.problem} ({self.path})"


@dataclass
class BadFiles:
    """Takes what cannot be read. skip: `ingest.on_bad_file` is `skip`, for files of lines."""

    skip: bool = False
    found: list[BadFile] = field(default_factory=list)

    def add(self, path: str, problem: str) -> None:
        """Raise BadFileError, or keep the file for the report. problem: one line; see BadFile."""
        bad = BadFile(path, " ".join(problem.split()))
        if not self.skip:
            raise BadFileError(str(bad))
        log.warning("skipped: %s", bad)
        self.found.append(bad)
