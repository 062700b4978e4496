"""The root of all runs: their folders, which of them is current, and the pointer to it that moves as one.

<root>/_recsys.json      says that the folder is ours
<root>/runs/<id>/        a run: its artifacts, their manifests, `_stages`, `run.json`, `_lock.json` while one works
<root>/current.json      names the current run; on a local disk also the link `current` -> runs/<id>
"""

from __future__ import annotations

import json
import logging
import secrets
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath

from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.stages import STAGE_NAMES
from recsys_spark.paths import filesystem
from recsys_spark.privacy.forgotten import LIST as FORGOTTEN
from recsys_spark.runs.owner import now
from recsys_spark.runs.record import RECORD, RunRecord, read_record, write_record
from recsys_spark.small_files import create_whole, is_local, read_json, write_whole
from recsys_spark.storage import MARKER

LOCK = "_lock.json"
RUNS = "runs"
CURRENT = "current"
_TIME = "%Y%m%dT%H%M%S"
_FOR = "-for-"  # in ids, before the key that a run was opened for
_FORMAT = 2  # of a root; a folder of artifacts is of format 1
log = logging.getLogger("recsys")


class RunRoot:
    """What lies below `paths.processed`. `is_plain`: it is itself a folder of artifacts, and so its only run."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or root
        self.fs, self._base = filesystem(self.root)
        marker = read_json(self.fs, self._at(MARKER))
        self.is_plain = marker is not None and marker.get("format") != _FORMAT
        self.exists = marker is not None

    def create(self) -> None:
        """Make the root where there is none yet. Raises ConfigError for a folder that holds something else."""
        if self.exists:
            return
        others = [name for name in self._names("") if not name.startswith((MARKER, LOCK, FORGOTTEN))]
        if (others or self.fs.isfile(self._base)) and not self.fs.exists(self._at(MARKER)):
            raise ConfigError(
                f"paths.processed '{self.root}' already holds something else; name an empty or a new folder"
            )
        create_whole(self.fs, self._at(MARKER), json.dumps({"format": _FORMAT}).encode())
        self.exists = True

    def runs(self) -> list[RunRecord]:
        """All runs, the oldest first. A plain folder is one run."""
        if self.is_plain:
            return [found for found in [self._found(self._base)] if found]
        return [record for record in self._records() if not record.removed]

    def run(self, run_id: str) -> RunRecord:
        """One run. Raises ConfigError, which names those that there are, for one that does not exist."""
        known = {record.id: record for record in self.runs()}
        if run_id not in known:
            raise ConfigError(f"'{self.root}' has no run '{run_id}'; it has {', '.join(known) or 'none'}")
        return known[run_id]

    def current(self) -> RunRecord | None:
        """The run that readers read: the one pointed at, else the newest complete one."""
        pointer, runs = self._pointer(), self.runs()
        pointed = [record for record in runs if record.id == pointer.get("run")]
        complete = [record for record in runs if record.is_complete]
        return next(iter(pointed or complete[-1:]), None)

    def unfinished(self) -> RunRecord | None:
        """The run that is to be gone on with: the newest, unless a complete one came after it."""
        newest = self.runs()[-1:]
        return newest[0] if newest and not newest[0].is_complete else None

    def opened_for(self, key: str) -> RunRecord | None:
        """The newest run that was opened for a key, None where there is none."""
        return next((record for record in reversed(self.runs()) if record.id.endswith(_FOR + key)), None)

    def create_run(self, goal: str, based_on: str | None, key: str | None = None) -> RunRecord:
        """A new, empty run whose id sorts behind all others and ends in the key. Call it with the root locked."""
        time = datetime.now(timezone.utc)
        names = sorted(self._names(RUNS))
        with suppress(ValueError):
            if names:
                last = datetime.strptime(names[-1].split("-")[0], _TIME).replace(tzinfo=timezone.utc)
                time = max(time, last + timedelta(seconds=1))
        ending = _FOR + key if key else f"-{secrets.token_hex(2)}"
        record = RunRecord(time.strftime(_TIME) + ending, goal, based_on, opened=now())
        folder = f"{self._at(RUNS)}/{record.id}"
        self.fs.makedirs(folder)
        write_record(self.fs, folder, record)
        write_whole(self.fs, f"{folder}/{MARKER}", json.dumps({"format": 1}).encode())
        return record

    def point_at(self, run_id: str) -> None:
        """Make a run the current one."""
        write_whole(self.fs, self._at(f"{CURRENT}.json"), json.dumps({"run": run_id, "since": now()}).encode())
        if is_local(self.fs):
            link, aside = Path(self._at(CURRENT)), Path(self._at(f"{CURRENT}.{secrets.token_hex(4)}.tmp"))
            try:
                aside.symlink_to(f"{RUNS}/{run_id}")
                aside.replace(link)
            except OSError as error:
                log.warning("no link '%s', current.json alone names the current run: %s", link, error)

    def folder(self, run_id: str) -> str:
        """Root of a run's artifacts, as `Storage` takes it."""
        return self.root if self.is_plain else f"{self.root}/{RUNS}/{run_id}"

    def best_name(self, run_id: str) -> str:
        """Where a person finds a run: by the link to the current one, where it is that."""
        link = Path(self._at(CURRENT))
        is_linked = is_local(self.fs) and link.is_symlink() and link.resolve() == Path(self.place(run_id)).resolve()
        return str(link) if is_linked else self.place(run_id)

    def record(self, run_id: str) -> RunRecord | None:
        """What is known of a run now, None where it does not exist."""
        return self._found(self.place(run_id))

    def write(self, record: RunRecord) -> None:
        """Replace run.json of a run."""
        write_record(self.fs, self.place(record.id), record)

    def remove(self, record: RunRecord) -> None:
        """Remove a run and all that it holds. Killed in between, the rest is no run and goes with the next call."""
        self.write(replace(record, removed=now()))
        place = self.place(record.id)
        for path in self.fs.ls(place, detail=False):
            if PurePosixPath(path).name != RECORD:  # what says so goes last
                self.fs.rm(path, recursive=True)
        self.fs.rm(place, recursive=True)

    def remains(self) -> list[RunRecord]:
        """Runs whose removal was interrupted."""
        return [record for record in self._records() if record.removed]

    def lock_path(self, run_id: str | None = None) -> str:
        """The lock of one run, or that of the root, which opening runs and moving `current` take for a moment."""
        return f"{self._base.rstrip('/')}/{LOCK}" if run_id is None else f"{self.place(run_id)}/{LOCK}"

    def _records(self) -> list[RunRecord]:
        found = (self._found(f"{self._at(RUNS)}/{name}") for name in sorted(self._names(RUNS)))
        return [record for record in found if record is not None]

    def _found(self, place: str) -> RunRecord | None:
        """The run that a folder holds; artifacts without run.json, as earlier versions left them, are a whole one.

        The pointer makes a run complete: its writer may have been killed before run.json said so too.
        """
        record = read_record(self.fs, place)
        if record is not None and not record.is_complete:
            pointer = self._pointer()
            if record.id == pointer.get("run"):
                record = replace(record, completed=pointer.get("since") or "unknown")
        if record is None and self.fs.exists(f"{place}/{MARKER}"):
            record = RunRecord(PurePosixPath(place).name, STAGE_NAMES[-1], None, "", completed="unknown")
        return record

    def place(self, run_id: str) -> str:
        """Folder of a run as the file system spells it."""
        return self._base.rstrip("/") if self.is_plain else f"{self._at(RUNS)}/{run_id}"

    def _pointer(self) -> dict[str, str]:
        """The current run's id, `run`, and `since` when it is that; empty where none is pointed at."""
        return read_json(self.fs, self._at(f"{CURRENT}.json")) or {}

    def _names(self, folder: str) -> list[str]:
        path = self._at(folder) if folder else self._base
        self.fs.invalidate_cache(path)  # other processes make runs too
        if not self.fs.isdir(path):
            return []
        return [PurePosixPath(found).name for found in self.fs.ls(path, detail=False)]

    def _at(self, name: str) -> str:
        return f"{self._base.rstrip('/')}/{name}"
