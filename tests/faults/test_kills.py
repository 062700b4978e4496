"""One run is killed in each stage in turn, and what it leaves in the end is what an undisturbed run leaves."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass

import pytest

from recsys_spark.contracts.stages import STAGE_NAMES
from tests.faults.artifacts import differing
from tests.faults.command import Command
from tests.faults.fault_shop import FaultShop, open_shop

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.spark, pytest.mark.torch]

MACHINE, DRIVER, WORKERS, CTRL_C = "machine", "driver", "workers", "Ctrl-C"
# Each stage is killed once: by turns with all its processes, and with the driver alone, whose JVM and workers then are
# on their own while the next start begins. Before that, some stages meet another fault.
FIRST = {"clean": [CTRL_C], "baselines": [WORKERS], "train_retriever": [CTRL_C]}
FAULTS = [
    (stage, fault)
    for number, stage in enumerate(STAGE_NAMES)
    for fault in (*FIRST.get(stage, []), (MACHINE, DRIVER)[number % 2])
]
ENDS_WITHIN = 60.0  # seconds for what a killed or interrupted driver leaves behind, on a busy machine


@dataclass(frozen=True)
class Disturbance:
    """One start of the command, and the fault that it met.

    before, after: stages that were published. half_published: what was wrong afterwards with artifacts that have a
    manifest.
    """

    stage: str
    fault: str
    command: Command
    before: tuple[str, ...]
    after: tuple[str, ...]
    half_published: tuple[str, ...]


def cause(fault: str, command: Command) -> None:
    """Let a fault happen; returns when the command has ended."""
    if fault == MACHINE:
        command.kill_everything()
    elif fault == DRIVER:
        command.kill_driver()
    elif fault == CTRL_C:
        command.interrupt()
        command.end()
    while command.process.poll() is None:  # which of the workers has a task is not seen from here
        for worker in command.workers():
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def disturbed(shop: FaultShop, stage: str, fault: str) -> Disturbance:
    before = tuple(shop.published()) if shop.root.exists() else ()
    left = set(shop.staged(stage))  # by a start before this one
    with shop.recsys("run") as command:
        command.until(lambda: bool(set(shop.staged(stage)) - left), f"{stage} had files aside")
        cause(fault, command)
        return Disturbance(
            stage,
            fault,
            command,
            before,
            tuple(shop.published()),
            tuple(shop.half_published()),
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> FaultShop:
    shop = open_shop(tmp_path_factory.mktemp("kills"))
    done = shop.finish("run")
    assert done.process.returncode == 0, done.said[-3000:]
    return shop


@pytest.fixture(scope="module")
def killed(finished) -> FaultShop:
    return finished.beside("killed")


@pytest.fixture(scope="module")
def disturbances(killed) -> list[Disturbance]:
    """The same command again and again; the last one is left in peace and ends the run."""
    found = [disturbed(killed, stage, fault) for stage, fault in FAULTS]
    done = killed.finish("run")
    assert done.process.returncode == 0, done.said[-3000:]
    assert done.started == [STAGE_NAMES[-1]]
    return found


def test_every_stage_was_killed_before_it_was_published(disturbances):
    kills = [each for each in disturbances if each.fault in (MACHINE, DRIVER)]
    assert [each.stage for each in kills] == list(STAGE_NAMES)
    assert [each.stage for each in disturbances if each.stage in each.after] == []


def test_the_same_command_goes_on_with_the_first_stage_that_is_not_published(disturbances):
    for each in disturbances:
        assert each.command.started == [*STAGE_NAMES[len(each.before) : len(each.after) + 1]], each.stage


def test_no_artifact_that_a_reader_would_take_is_half_there_at_any_moment(disturbances):
    assert [each.half_published for each in disturbances if each.half_published] == []


def test_what_is_left_in_the_end_is_what_an_undisturbed_run_leaves(disturbances, finished, killed):
    expected = finished.contents()
    assert len(expected) > 90
    assert differing(expected, killed.contents()) == []
    assert list(killed.run.rglob("_staging")) == []


def test_no_line_is_lost_and_none_counted_twice(disturbances, killed):
    funnel = killed.document("cleaning_report.json")["funnel"]
    assert (funnel["lines_read"], funnel["lines_kept"], funnel["lines_rejected"]) == (405, 401, 4)


def test_ctrl_c_ends_with_130_in_one_line_and_leaves_no_process(disturbances):
    interrupted = [each for each in disturbances if each.fault == CTRL_C]
    assert len(interrupted) == 2
    for each in interrupted:
        assert each.command.process.returncode == 130
        errors = [line for line in each.command.said.splitlines() if line.startswith("error: ")]
        assert errors == ["error: interrupted; what was published stays, the same command goes on"]
        assert "Traceback" not in each.command.said
        each.command.until_all_ended(ENDS_WITHIN)


def test_a_killed_python_worker_ends_the_run_with_one_line_that_says_so(disturbances):
    (found,) = [each for each in disturbances if each.fault == WORKERS]
    assert found.command.process.returncode == 1
    assert "Python worker" in found.command.last_line
    assert "Traceback" not in found.command.said


def test_what_a_killed_driver_leaves_behind_ends_by_itself(disturbances):
    for each in disturbances:
        each.command.until_all_ended(ENDS_WITHIN)
