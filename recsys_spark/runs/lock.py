"""A lock file that names its owner: one writer at a time, and the lock of a dead one is taken over."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from fsspec import AbstractFileSystem

from recsys_spark.contracts.errors import LockedError
from recsys_spark.runs.owner import Owner, now
from recsys_spark.small_files import create_whole, read_json, write_whole

_RETRY_SECONDS = 0.1
_UNREADABLE_SECONDS = 5.0  # that a lock file without an owner is waited for before it counts as left behind
log = logging.getLogger("recsys")


@dataclass(frozen=True)
class LockRules:
    """limit_seconds: after which a process that cannot be seen from here counts as dead; wait_seconds: for a lock."""

    limit_seconds: float
    wait_seconds: float = 0.0


class HeldLock:
    """A lock that this process holds."""

    def __init__(self, fs: AbstractFileSystem, path: str, owner: Owner) -> None:
        self.owner = owner
        self._fs, self._path = fs, path
        self._mutex, self._released = threading.Lock(), threading.Event()

    def at_stage(self, stage: str) -> None:
        """Let others see what this process works on. Raises LockedError where the lock was taken over meanwhile."""
        self._write(stage)

    def require_held(self) -> None:
        """Raise LockedError where the lock file no longer names this process.

        It is read anew each time: a machine that was suspended may have lost the lock before its next sign of life.
        """
        with self._mutex:
            self._require_own()

    def beat_every(self, seconds: float) -> None:
        """Give a sign of life until the lock is released."""

        def beat() -> None:
            while not self._released.wait(seconds):
                try:
                    self._write()
                except LockedError as error:
                    log.error("%s; this process ends before its next artifact", error)
                    return
                except Exception as error:  # of a store that cannot be reached now, whatever its client raises
                    log.warning("no sign of life in the lock '%s': %s", self._path, error)

        threading.Thread(target=beat, name="lock heartbeat", daemon=True).start()

    def release(self) -> None:
        """Remove the lock file, unless it is another's by now. A forked process leaves it alone."""
        self._released.set()
        if self.owner.pid != os.getpid():
            return
        with self._mutex:
            held_by = owner_of(self._fs, self._path)
            if held_by is not None and held_by.token == self.owner.token:
                self._fs.rm_file(self._path)

    def _write(self, stage: str | None = None) -> None:
        with self._mutex:
            if self._released.is_set():
                return
            self._require_own()
            self.owner = replace(self.owner, beat=now(), stage=self.owner.stage if stage is None else stage)
            write_whole(self._fs, self._path, _content(self.owner))

    def _require_own(self) -> None:
        held_by = owner_of(self._fs, self._path)
        if held_by is None or held_by.token != self.owner.token:
            raise LockedError(f"the lock '{self._path}' was taken from this process; it is held by {held_by or 'none'}")


def owner_of(fs: AbstractFileSystem, path: str) -> Owner | None:
    """Who holds the lock, dead or alive; None where it is free or names no owner."""
    return Owner.from_values(read_json(fs, path))


def living_owner(fs: AbstractFileSystem, path: str, rules: LockRules) -> Owner | None:
    """Who holds the lock and still runs."""
    owner = owner_of(fs, path)
    return owner if owner is not None and owner.is_alive(rules.limit_seconds) else None


@contextmanager
def locked(fs: AbstractFileSystem, path: str, command: str, rules: LockRules) -> Iterator[HeldLock]:
    """Hold the lock at `path`. It is released however the block is left, by Ctrl-C too; see ending_on_sigterm.

    Raises LockedError, which names the owner, where a living process holds it.
    """
    lock = HeldLock(fs, path, take(fs, path, Owner.of_this_process(command), rules))
    try:
        lock.beat_every(rules.limit_seconds / 10)
        yield lock
    finally:
        lock.release()


def take(fs: AbstractFileSystem, path: str, me: Owner, rules: LockRules) -> Owner:
    """Take the lock, or take it over from a dead owner; returns `me`."""
    started, unreadable_since = time.monotonic(), None
    while not create_whole(fs, path, _content(me)):
        owner = owner_of(fs, path)
        if owner is None and fs.exists(path):  # of a writer killed on a file system without links, or damaged
            unreadable_since = unreadable_since or time.monotonic()
            is_dead = time.monotonic() - unreadable_since > _UNREADABLE_SECONDS
        else:
            is_dead = owner is not None and not owner.is_alive(rules.limit_seconds)
        if is_dead and _taken_over(fs, path, owner, me, rules):
            log.warning("took over the lock '%s': %s is gone", path, owner or "an owner that it does not name")
            return me
        if owner is not None and not is_dead and time.monotonic() - started >= rules.wait_seconds:
            raise LockedError(f"'{path}' is held by {owner}; wait until it is done, or stop it")
        time.sleep(_RETRY_SECONDS)
    return me


def _taken_over(fs: AbstractFileSystem, path: str, dead: Owner | None, me: Owner, rules: LockRules) -> bool:
    """Replace a dead owner by this process. Who may do so is decided by a lock of its own, named after the dead one."""
    claim = f"{path}.{dead.token if dead else 'unreadable'}"
    take(fs, claim, me, replace(rules, wait_seconds=max(rules.wait_seconds, rules.limit_seconds)))
    try:
        is_same = fs.exists(path) and owner_of(fs, path) == dead
        if is_same:
            write_whole(fs, path, _content(me))
        return is_same
    finally:
        fs.rm_file(claim)


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Of what ends a process, Py4J gives up a call to the JVM cleanly for KeyboardInterrupt alone."""


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process as an exception, SystemExit outside the block, so that what it holds is released."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Terminated:
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _content(owner: Owner) -> bytes:
    return json.dumps(owner.values(), indent=1).encode()
