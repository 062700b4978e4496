"""Stages in order, in the run that they belong in: the unfinished, the current where all is fresh, or a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.stages import STAGE_NAMES
from recsys_spark.runs.choose import Wanted, place_of
from recsys_spark.runs.record import RunRecord
from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.work import Work, is_up_to_date, working
from recsys_spark.session import get_session
from recsys_spark.stage import Stage
from recsys_spark.storage import Storage
from recsys_spark.tracking import tracked_run


@dataclass(frozen=True)
class Order:
    """What a command asks of its stages. run: as for `Wanted`. shown: wraps the stages, to show progress."""

    command: str
    run: str | None = None
    force: bool = False
    verify: str = "size"
    shown: Callable[[Sequence[Stage]], Iterable[Stage]] = tuple


@contextmanager
def stages_done(stages: Sequence[Stage], config: PipelineConfig, order: Order) -> Iterator[Work]:
    """Run or carry over the stages, and keep the run locked until the block is left."""
    root = RunRoot(config.paths.processed)

    def is_outdated(run: RunRecord) -> bool:
        """A stage that the run has would be made anew; stages behind its goal are only added."""
        storage = Storage(root.folder(run.id), partial(get_session, config.session))
        asked = [stage for stage in stages if place_of(stage.name) <= place_of(run.goal)]
        return any(order.force or not is_up_to_date(stage, config, storage, order.verify) for stage in asked)

    wanted = Wanted(order.command, order.run, stages[-1].name, is_outdated)
    with working(config, wanted) as work, tracked_run(config, work) as tracked:
        work.take_as_they_are(STAGE_NAMES[: place_of(stages[0].name)])
        for stage in order.shown(stages):
            with tracked(stage.name) as report:
                report(work.do(stage, order.force, order.verify))
        yield work
