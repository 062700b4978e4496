"""A root in which no other process works, nor can begin to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from recsys_spark.contracts.errors import LockedError
from recsys_spark.runs.lock import LockRules, living_owner, locked
from recsys_spark.runs.root import RunRoot

_WAIT_SECONDS = 60.0  # for the lock of the root


@contextmanager
def undisturbed(root: RunRoot, rules: LockRules, command: str) -> Iterator[None]:
    """Hold the lock of the root, without which no run is opened or gone on with, while no run is worked in.

    Raises LockedError, which names the owner, where another process holds that lock or works in a run.
    """
    with locked(root.fs, root.lock_path(), command, replace(rules, wait_seconds=_WAIT_SECONDS)):
        if not root.is_plain:  # the lock of a plain root is that of its only run
            for run in root.runs():
                owner = living_owner(root.fs, root.lock_path(run.id), rules)
                if owner is not None:
                    raise LockedError(f"run {run.id} is worked in by {owner}; wait until it is done, or stop it")
        yield
