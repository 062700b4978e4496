"""A command at work in a run: it holds the lock, runs or carries over stages, and keeps run.json."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pyspark.sql import SparkSession

from recsys_spark.contracts.config import PipelineConfig, SessionConfig
from recsys_spark.contracts.errors import ArtifactError, LockedError
from recsys_spark.contracts.stages import STAGE_NAMES
from recsys_spark.error_causes import cause_in_one_line
from recsys_spark.freshness import given_to, is_fresh, reads_the_same, recipe_of
from recsys_spark.manifest import library_versions
from recsys_spark.runs.carry import carry, carry_fresh
from recsys_spark.runs.choose import Wanted, furthest, place_of, run_to_work_in
from recsys_spark.runs.lock import HeldLock, LockRules, locked
from recsys_spark.runs.memory import PeakMemory
from recsys_spark.runs.owner import now
from recsys_spark.runs.record import RunRecord, code_facts, config_digest, config_values
from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.spill import Spill
from recsys_spark.session import get_session
from recsys_spark.source_files import is_source
from recsys_spark.stage import Outcome, Stage, run_stage
from recsys_spark.storage import Storage

_LOGGED = ("rows_in", "rows_out", "bytes_out", "peak_memory", "spilled_bytes")
log = logging.getLogger("recsys")


@dataclass
class SessionStart:
    """Starts Spark when it is first asked for, and knows the seconds that this took."""

    config: SessionConfig
    session: SparkSession | None = None
    seconds: float = 0.0

    def __call__(self) -> SparkSession:
        if self.session is None:
            began = time.monotonic()
            self.session = get_session(self.config)
            self.seconds = round(time.monotonic() - began, 1)
        return self.session


@dataclass
class Work:
    """Runs stages in one run. `record` is what its run.json says."""

    root: RunRoot
    config: PipelineConfig
    record: RunRecord
    lock: HeldLock
    storage: Storage
    base: Storage | None
    session: SessionStart
    memory: PeakMemory
    spill: Spill = field(default_factory=Spill)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def do(self, stage: Stage, force: bool = False, verify: str = "size") -> Outcome:
        """Run a stage, unless it is up to date here or in the run that this one is based on."""
        self.lock.at_stage(stage.name)
        is_done = not force and (self._is_up_to_date(stage, verify) or self._carry_over(stage, verify))
        began, seconds_before = now(), self.session.seconds
        if not is_done:
            log.info("%s: started", stage.name, extra={"facts": {"stage": stage.name, "event": "started"}})
            self.memory.begin()
        outcome = run_stage(stage, self.config, self.storage, force, verify, partial(self._measure, stage.name))
        if not outcome.skipped:
            seconds = round(outcome.seconds - (self.session.seconds - seconds_before), 1)
            self._note(stage.name, {"outcome": "ran", "started": began, "ended": now(), "seconds": seconds})
        self.outcomes[stage.name] = outcome
        return outcome

    def take_as_they_are(self, names: Sequence[str]) -> None:
        """Carry stages over that the command left out, fresh or not, unless this run has them.

        Raises ArtifactError for one that was made from something else than what this run holds by now.
        """
        if self.base is None:
            return
        for name in names:
            record = self.base.stage_record(name)
            if record is None or self.storage.stage_record(name):
                continue
            if not reads_the_same(record, self.storage):
                raise ArtifactError(
                    f"stage '{name}' of run {self.record.based_on} was made from other artifacts than run "
                    f"{self.record.id} holds; `recsys run` makes it anew"
                )
            if carry(name, self.base, self.storage):
                log.info("%s: taken as it is from run %s", name, self.record.based_on)
                self._note_carried(name)

    def left(self) -> list[str]:
        """Stages up to the run's goal that are not published in it, or that read what was replaced since."""
        asked = STAGE_NAMES[: place_of(self.record.goal) + 1]
        return [name for name in asked if not is_published(name, self.storage)]

    def keep(self, record: RunRecord) -> None:
        """Replace the record and run.json. Raises LockedError where another process has taken the run over."""
        self.lock.require_held()
        self.root.write(record)
        self.record = record

    def _is_up_to_date(self, stage: Stage, verify: str) -> bool:
        return is_up_to_date(stage, self.config, self.storage, verify)

    def _carry_over(self, stage: Stage, verify: str) -> bool:
        """Take what the run that this one is based on holds of the stage; False where it holds nothing fresh."""
        if self.base is None or not carry_fresh(stage, self.config, self.base, self.storage, verify):
            return False
        self._note_carried(stage.name)
        return True

    def _measure(self, stage: str) -> dict[str, Any]:
        """What is known of a stage that has just ended, beside its seconds."""
        spilled = self.spill.since_last_time(self.session.session) if self.session.session else None
        self._note(stage, {"peak_memory": self.memory.seen(), "spilled_bytes": spilled})
        return {name: value for name, value in self.record.stages[stage].items() if name in _LOGGED}

    def _note(self, stage: str, facts: dict[str, Any]) -> None:
        known = {**self.record.stages.get(stage, {}), **facts, **sizes_of(self.storage, stage)}
        self.keep(replace(self.record, stages={**self.record.stages, stage: known}))

    def _note_carried(self, stage: str) -> None:
        base = self.record.based_on or ""
        record = self.root.record(base)
        known = record.stages.get(stage, {}) if record else {}
        self._note(stage, {**known, "outcome": "carried over", "from": base})


@contextmanager
def working(config: PipelineConfig, wanted: Wanted) -> Iterator[Work]:
    """Work in the run that is wanted, which becomes the current one once it has all stages up to its goal.

    When the block is left, run.json says how it ended.
    """
    root = RunRoot(config.paths.processed)
    rules = LockRules(config.runs.lock_seconds, config.runs.wait_seconds)
    with run_to_work_in(root, wanted, rules) as (record, lock), PeakMemory().watched() as memory:
        session = SessionStart(config.session)
        base = Storage(root.folder(record.based_on), session) if record.based_on else None
        storage = Storage(root.folder(record.id), session, lock.require_held, writer=lock.owner.token)
        work = Work(root, config, record, lock, storage, base, session, memory)
        work.storage.open_root()
        work.keep(_begun(record, config, wanted))
        try:
            yield work
        except BaseException as error:
            is_stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            outcome = "interrupted" if is_stopped else f"failed: {cause_in_one_line(error)}"
            with suppress(LockedError):  # run.json is another process's by now
                work.keep(_ended(work.record, outcome))
            raise
        _settle(work, rules)


def is_up_to_date(stage: Stage, config: PipelineConfig, storage: Storage, verify: str = "size") -> bool:
    """Whether `run_stage` would skip the stage."""
    record = storage.stage_record(stage.name)
    if record is None:
        return False
    return is_fresh(record, recipe_of(stage, config, given_to(stage, config)), storage, verify)


def is_published(stage: str, storage: Storage) -> bool:
    """Whether a stage ended here, and what it read and wrote still is what it was then."""
    record = storage.stage_record(stage)
    return record is not None and is_fresh(record, record["recipe"], storage, "size")


def sizes_of(storage: Storage, stage: str) -> dict[str, int]:
    """Rows that a stage read and wrote, and bytes that it wrote, as the manifests state them."""
    record = storage.stage_record(stage) or {"inputs": {}, "outputs": {}}
    labels = ([label for label in record[kind] if not is_source(label)] for kind in ("inputs", "outputs"))
    read, made = ([storage.manifest(label) for label in found] for found in labels)
    return {
        "rows_in": sum(manifest.rows or 0 for manifest in read if manifest),
        "rows_out": sum(manifest.rows or 0 for manifest in made if manifest),
        "bytes_out": sum(manifest.bytes for manifest in made if manifest),
    }


def _settle(work: Work, rules: LockRules) -> None:
    """Say that the command is done; make the run the current one once it has all that it is for."""
    if work.record.is_complete:
        record = _with_what_was_added(work.record, list(work.outcomes))
    elif left := work.left():
        log.info("run %s stays open: %s left", work.record.id, ", ".join(left))
        record = work.record
    else:
        if not work.root.is_plain:
            _make_current(work, rules)
        record = replace(work.record, completed=now())
    work.keep(_ended(record, "done"))


def _with_what_was_added(record: RunRecord, done: Sequence[str]) -> RunRecord:
    """A complete run whose goal lies no earlier than any stage done, but for what stands beside them, as `monitor`."""
    return replace(record, goal=furthest([record.goal, *(name for name in done if name in STAGE_NAMES)]))


def _make_current(work: Work, rules: LockRules) -> None:
    """Let readers read the run. From this moment on it is complete, though run.json says so a moment later."""
    at_most = replace(rules, wait_seconds=rules.limit_seconds)
    with locked(work.root.fs, work.root.lock_path(), work.record.command, at_most):
        work.lock.require_held()
        work.root.point_at(work.record.id)
    log.info("run %s is complete and now current", work.record.id)


def _begun(record: RunRecord, config: PipelineConfig, wanted: Wanted) -> RunRecord:
    goal = record.goal if record.is_complete or wanted.goal is None else furthest([record.goal, wanted.goal])
    return replace(
        record,
        goal=goal,
        command=wanted.command,
        started=now(),
        ended="",
        outcome="running",
        config=config_values(config),
        config_digest=config_digest(config),
        libraries=library_versions(),
        code=code_facts(),
    )


def _ended(record: RunRecord, outcome: str) -> RunRecord:
    entry = {"command": record.command, "started": record.started, "ended": now(), "outcome": outcome}
    return replace(record, ended=entry["ended"], outcome=outcome, commands=[*record.commands, entry])
