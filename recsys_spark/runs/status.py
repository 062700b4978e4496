"""Where a run stands: each stage fresh, stale and why, running, or missing; from manifests, without Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.runs.lock import LockRules, living_owner
from recsys_spark.runs.owner import Owner
from recsys_spark.runs.reasons import Reason, reasons
from recsys_spark.runs.root import CURRENT, RunRoot
from recsys_spark.runs.work import sizes_of
from recsys_spark.stage import Stage
from recsys_spark.storage import Storage

FRESH, STALE, RUNNING, MISSING = "fresh", "stale", "running", "missing"


@dataclasses.dataclass(frozen=True)
class StageStatus:
    """One stage. state: of those above; reasons: why it is stale. waits_for: stages it reads from that are not fresh.

    rows: written. seconds, when: of its last run, which may have been in an earlier run; None where it never ran.
    """

    name: str
    state: str
    reasons: tuple[Reason, ...] = ()
    waits_for: tuple[str, ...] = ()
    rows: int | None = None
    seconds: float | None = None
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """A run. current, unfinished: ids of those of the root; owner: who works in this run."""

    root: str
    run: str
    folder: str
    current: str | None
    unfinished: str | None
    owner: Owner | None
    stages: tuple[StageStatus, ...]

    def values(self) -> dict[str, Any]:
        """All of it as plain values."""
        return dataclasses.asdict(self)


def status_of(stages: Sequence[Stage], config: PipelineConfig, wanted: str | None = None) -> RunStatus:
    """The status of the run that work goes on in: the unfinished one, else the current; `wanted` names another.

    Raises ArtifactError where there is no run.
    """
    root = RunRoot(config.paths.processed)
    current, unfinished = root.current(), None if root.is_plain else root.unfinished()
    run = current if wanted else unfinished or current
    if wanted and wanted != CURRENT:
        run = root.run(wanted)
    if run is None:
        raise ArtifactError(f"'{root.root}' holds no run yet; make one with `recsys run`")
    owner = living_owner(root.fs, root.lock_path(run.id), LockRules(config.runs.lock_seconds))
    storage, found = Storage(root.folder(run.id)), dict[str, StageStatus]()
    for stage in stages:
        found[stage.name] = _stage_status(stage, config, storage, owner)
    told = tuple(_with_waits(stage, stages, found) for stage in stages)
    ids = [record.id if record else None for record in (current, unfinished)]
    return RunStatus(root.root, run.id, storage.root, ids[0], ids[1], owner, told)


def status_table(status: RunStatus) -> str:
    """The status as text."""
    lines = [f"run {status.run}{_standing(status)}", f"in {status.folder}", ""]
    if status.owner:
        lines.insert(1, f"at work: {status.owner}")
    lines.append(f"{'stage':<16} {'state':<8} {'rows':>12} {'seconds':>8}  {'when (UTC)':<19}  why")
    for stage in status.stages:
        rows = "" if stage.rows is None else f"{stage.rows:,}"
        seconds = "" if stage.seconds is None else f"{stage.seconds:,.1f}"
        when = (stage.when or "")[:19].replace("T", " ")
        lines.append(f"{stage.name:<16} {stage.state:<8} {rows:>12} {seconds:>8}  {when:<19}  {_why(stage)}".rstrip())
    return "\n".join(lines)


def _stage_status(stage: Stage, config: PipelineConfig, storage: Storage, owner: Owner | None) -> StageStatus:
    if owner is not None and owner.stage == stage.name:
        return StageStatus(stage.name, RUNNING)
    record = storage.stage_record(stage.name)
    if record is None:
        return StageStatus(stage.name, MISSING)
    found = tuple(reasons(stage, config, storage, record))
    made = [manifest.created for label in record["outputs"] if (manifest := storage.manifest(label))]
    return StageStatus(
        stage.name,
        STALE if found else FRESH,
        found,
        rows=sizes_of(storage, stage.name)["rows_out"],
        seconds=record["seconds"],
        when=max(made, default=None),
    )


def _with_waits(stage: Stage, stages: Sequence[Stage], found: dict[str, StageStatus]) -> StageStatus:
    writers = [other for other in stages if other is not stage and set(other.writes) & set(stage.reads)]
    waits = tuple(writer.name for writer in writers if found[writer.name].state != FRESH)
    return dataclasses.replace(found[stage.name], waits_for=waits)


def _why(stage: StageStatus) -> str:
    if stage.reasons:
        return "; ".join(f"{reason.kind}: {reason.text}" for reason in stage.reasons)
    waits = ", ".join(stage.waits_for)
    return f"may change with {waits}" if waits and stage.state == FRESH else ""


def _standing(status: RunStatus) -> str:
    if status.run == status.current:
        return ", current"
    if status.run == status.unfinished:
        return f", unfinished; current is {status.current or 'none'}"
    return f"; current is {status.current or 'none'}"
