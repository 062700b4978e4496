"""What of the sources is not read: a file that cannot be ends the job or is left out, a hidden sheet is left out."""

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
    """Takes what is not read. skip: `ingest.on_bad_file` is `skip`, for files of lines.

    hidden_sheets: (file, sheet) of the sheets that no spreadsheet program shows, where all were to be read.
    """

    skip: bool = False
    found: list[BadFile] = field(default_factory=list)
    hidden_sheets: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: str, problem: str) -> None:
        """Raise BadFileError, or keep the file for the report. problem: one line; see BadFile."""
        bad = BadFile(path, " ".join(problem.split()))
        if not self.skip:
            raise BadFileError(str(bad))
        log.warning("skipped: %s", bad)
        self.found.append(bad)

    def add_hidden(self, path: str, sheet: str) -> None:
        """Keep a hidden sheet for the report."""
        where = f"{PurePosixPath(path).name}, sheet '{sheet}'"
        log.warning(
            "%s: hidden, so that it is not read; name the sheets to read in ingest.sheets if it is meant", where
        )
        self.hidden_sheets.append((path, sheet))
