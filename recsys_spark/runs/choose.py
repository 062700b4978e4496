"""Which run a command reads, which one it works in, and when it opens a new one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from recsys_spark.contracts.errors import ArtifactError, ConfigError, LockedError
from recsys_spark.contracts.stages import STAGE_NAMES
from recsys_spark.runs.lock import HeldLock, LockRules, locked
from recsys_spark.runs.record import RunRecord
from recsys_spark.runs.root import CURRENT, RunRoot

NEW = "new"
NEW_FOR = f"{NEW}:"  # begins what names the run that was opened for a key
_ROOT_WAIT_SECONDS = 60.0  # for the lock of the root, which is held for moments only
_RETRY_SECONDS = 1.0
log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Wanted:
    """What a command that works in a run asks for.

    run: an id, `current`, `new`, `new:KEY` (the run that was opened for the key, else a new one), or None for the rule.
    goal: the last stage that it asks for; None, as of one stage alone, asks for no more than the run was opened for.
    is_outdated: whether the current run is to be left as it is, and a new one opened. goes_on: whether an unfinished
    run is resumed though another is current.
    """

    command: str
    run: str | None = None
    goal: str | None = None
    is_outdated: Callable[[RunRecord], bool] = lambda _current: False
    goes_on: Callable[[RunRecord], bool] = lambda _unfinished: True


def run_to_read(root: RunRoot, wanted: str | None = None) -> RunRecord:
    """The run that a reader reads: the current one unless another is wanted, which the log then names.

    Raises ArtifactError where no run exists, ConfigError for one that does not.
    """
    current = root.current()
    if wanted not in (None, CURRENT):
        chosen = root.run(str(wanted))
        if current is None or chosen.id != current.id:
            log.warning("reading run %s; current is %s", chosen.id, current.id if current else "none")
        return chosen
    if current is not None:
        return current
    unfinished = root.unfinished()
    if unfinished is None or wanted == CURRENT:
        raise ArtifactError(
            f"'{root.root}' holds no {'complete ' if unfinished else ''}run; make one with `recsys run`"
        )
    log.warning("no run is complete yet: reading the unfinished %s", unfinished.id)
    return unfinished


@contextmanager
def run_to_work_in(root: RunRoot, wanted: Wanted, rules: LockRules) -> Iterator[tuple[RunRecord, HeldLock]]:
    """The run that a command works in, locked until the block is left.

    Raises LockedError, which names the owner, where another process works in it.
    """
    root.create()
    give_up = time.monotonic() + rules.wait_seconds
    with ExitStack() as stack:
        opened = None
        while opened is None:
            try:
                opened = _try_to_open(root, wanted, replace(rules, wait_seconds=0.0), stack)
            except LockedError:
                if time.monotonic() >= give_up:
                    raise
                time.sleep(_RETRY_SECONDS)
        yield opened


def _try_to_open(
    root: RunRoot, wanted: Wanted, rules: LockRules, stack: ExitStack
) -> tuple[RunRecord, HeldLock] | None:
    """None where another process changed the runs while this one looked at them."""
    seen = _state(root)
    chosen = _chosen(root, wanted)
    with ExitStack() as moment:
        if not root.is_plain:
            at_most = replace(rules, wait_seconds=_ROOT_WAIT_SECONDS)
            moment.enter_context(locked(root.fs, root.lock_path(), wanted.command, at_most))
        if _state(root) != seen:
            return None
        if chosen is None:
            chosen = _opened(root, wanted.goal or STAGE_NAMES[-1], key_of(wanted.run))
        lock = stack.enter_context(locked(root.fs, root.lock_path(chosen.id), wanted.command, rules))
        return root.record(chosen.id) or chosen, lock


def _state(root: RunRoot) -> tuple[str | None, ...]:
    current = root.current()
    return (current.id if current else None, *(f"{record.id} {record.completed}" for record in root.runs()))


def _chosen(root: RunRoot, wanted: Wanted) -> RunRecord | None:
    """The run to work in, None for a new one."""
    current = root.current()
    key = key_of(wanted.run)
    if root.is_plain:
        if is_new(wanted.run):
            raise ConfigError(f"'{root.root}' is a folder of artifacts, which is one run; name a new paths.processed")
        return current
    if is_new(wanted.run):
        return root.opened_for(key) if key else None
    if wanted.run == CURRENT and current is None:
        raise ArtifactError(f"'{root.root}' holds no complete run; make one with `recsys run`")
    if wanted.run not in (None, CURRENT):
        return root.run(str(wanted.run))
    unfinished = root.unfinished() if wanted.run is None else None
    if unfinished is not None and current is not None and not wanted.goes_on(unfinished):
        log.info("leaving the unfinished run %s as it is", unfinished.id)
    elif unfinished is not None:
        log.info("going on with the unfinished run %s", unfinished.id)
        return unfinished
    if current is not None and wanted.run is None and wanted.is_outdated(current):
        return None
    if current is not None and wanted.goal is None:
        log.info("working in the current run %s, in place", current.id)
    return current


def is_new(run: str | None) -> bool:
    """Whether `new` or `new:KEY` is asked for."""
    return run == NEW or (run or "").startswith(NEW_FOR)


def key_of(run: str | None) -> str | None:
    """The key of `new:KEY`, None for all else. Raises ConfigError for a key that no id may hold."""
    if run is None or not run.startswith(NEW_FOR):
        return None
    key = run.removeprefix(NEW_FOR)
    if not (key.isascii() and key.isalnum()):
        raise ConfigError(f"--run {run}: behind '{NEW_FOR}' stands a key of letters and digits")
    return key


def _opened(root: RunRoot, goal: str, key: str | None) -> RunRecord:
    """A new run. It is not complete before it holds what the current one holds, so nothing is lost when it follows."""
    base = root.current()
    record = root.create_run(furthest([goal, *([base.goal] if base else [])]), base.id if base else None, key)
    log.info("opened run %s%s", record.id, f", based on {base.id}" if base else "")
    return record


def place_of(stage: str) -> int:
    """Where a stage stands among all; one of another version stands last."""
    return STAGE_NAMES.index(stage) if stage in STAGE_NAMES else len(STAGE_NAMES) - 1


def furthest(stages: Sequence[str]) -> str:
    """The last of some stages in the order of all, of which there is at least one."""
    return max(stages, key=place_of)
