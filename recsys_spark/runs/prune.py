"""Take old runs away, and point readers back at one that stays."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fsspec import AbstractFileSystem

from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.stages import STAGE_NAMES
from recsys_spark.freshness import has_outputs
from recsys_spark.runs.lock import LockRules, living_owner, locked
from recsys_spark.runs.record import RunRecord
from recsys_spark.runs.root import RunRoot
from recsys_spark.small_files import is_local
from recsys_spark.storage import Storage

_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Removal:
    """A run that was removed, or would be. bytes: those that no other run holds, where that can be told."""

    run: str
    why: str
    bytes: int


def prune(
    root: RunRoot, keep: int, rules: LockRules, command: str, unfinished: bool = False, dry_run: bool = False
) -> list[Removal]:
    """Remove complete runs beyond the newest `keep`, and unfinished ones that nothing will go on with.

    Never the current run, one in which a living process works, or one that such a run is based on. unfinished: also the
    run that `recsys run` would go on with. Bytes are told as if the removals came in this order.
    """
    if root.is_plain:
        raise ConfigError(f"'{root.root}' is a folder of artifacts, which is one run; there is nothing to prune")
    with _root_locked(root, rules, command):
        doomed = [*((record, "half removed") for record in root.remains()), *_doomed(root, keep, rules, unfinished)]
        removals, freed = [], _Freed(root.fs)
        for record, why in doomed:
            removals.append(Removal(record.id, why, freed.by(root.place(record.id))))
            if not dry_run:
                root.remove(record)
        return removals


def rollback(root: RunRoot, run_id: str | None, rules: LockRules, command: str) -> RunRecord:
    """Make the complete run before the current one current again, or the one that is named; returns it.

    Raises ConfigError where there is none, or where it lacks by now what it held, as after `recsys forget`.
    """
    if root.is_plain:
        raise ConfigError(f"'{root.root}' is a folder of artifacts, which is one run; there is nothing to roll back to")
    with _root_locked(root, rules, command):
        current = root.current()
        if run_id is not None:
            chosen = root.run(run_id)
            if not chosen.is_complete:
                raise ConfigError(f"run '{run_id}' is not complete; `recsys run --run {run_id}` goes on with it")
        else:
            earlier = [run for run in root.runs() if run.is_complete and current is not None and run.id < current.id]
            if not earlier:
                raise ConfigError(f"'{root.root}' has no complete run before {current.id if current else 'any'}")
            chosen = earlier[-1]
        lost = _lost(root, chosen)
        if lost:
            raise ConfigError(f"run '{chosen.id}' no longer holds what {', '.join(lost)} made; name another run")
        root.point_at(chosen.id)
        return chosen


def _lost(root: RunRoot, run: RunRecord) -> list[str]:
    """Stages of the run of whose artifacts some are gone."""
    storage = Storage(root.folder(run.id))
    records = ((stage, storage.stage_record(stage)) for stage in STAGE_NAMES)
    return [stage for stage, record in records if record is not None and not has_outputs(record, storage)]


def _root_locked(root: RunRoot, rules: LockRules, command: str) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(
        locked(root.fs, root.lock_path(), command, LockRules(rules.limit_seconds, wait_seconds=_WAIT_SECONDS))
    )
    return stack


def _doomed(root: RunRoot, keep: int, rules: LockRules, unfinished: bool) -> list[tuple[RunRecord, str]]:
    runs, current, going_on = root.runs(), root.current(), root.unfinished()
    at_work = {run.id for run in runs if living_owner(root.fs, root.lock_path(run.id), rules) is not None}
    kept = {run.id for run in [run for run in runs if run.is_complete][-keep:]} | at_work
    kept |= {run.based_on for run in runs if run.id in at_work and run.based_on}
    kept |= {current.id} if current else set()
    if going_on is not None and not unfinished:
        kept |= {going_on.id} | ({going_on.based_on} if going_on.based_on else set())
    return [(run, "old" if run.is_complete else "unfinished") for run in runs if run.id not in kept]


class _Freed:
    """Bytes that go when folders are removed one after another: a file goes with the last of its names."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = fs
        self._names_left: dict[tuple[int, int], int] = {}  # by device and inode

    def by(self, folder: str) -> int:
        """What goes with this folder, after those that were asked about before."""
        if not is_local(self._fs):
            return int(self._fs.du(folder))
        freed = 0
        for path in Path(folder).rglob("*"):
            if path.is_file():
                facts = path.lstat()
                inode = (facts.st_dev, facts.st_ino)
                self._names_left[inode] = self._names_left.get(inode, facts.st_nlink) - 1
                freed += facts.st_size if self._names_left[inode] == 0 else 0
        return freed
