"""Processes that answer: what they say is what one process says, and one that dies is replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.serving.bundle import CARD
from recsys_spark.serving.crew import Crew, Shift
from recsys_spark.serving.documents import Basket, Refused
from recsys_spark.serving.replies import Replies
from tests.serving.worlds import served

pytestmark = pytest.mark.torch
ACME = ("customer", "acme", (3, "all_items", None), True)


@pytest.fixture(scope="module")
def folder(run_root) -> Path:
    return next((run_root / "serving").glob(f"*/{CARD}")).parent


@pytest.fixture(scope="module")
def crew(run_root) -> Iterator[Crew]:
    found = Crew(served(run_root), 1)
    yield found
    found.close()


@pytest.fixture(scope="module")
def shift(crew, folder) -> Shift:
    return crew.open(folder, "first")


def processes() -> list[int]:
    """Those of this one's children that answer."""
    return [child.pid for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_process_says_what_this_one_would(run_root, folder, shift):
    here = Replies.open(folder, served(run_root), "first")
    basket = Basket(items=["D4", "C3", "XX"], k=2)
    for asked in (ACME, ("basket", basket), ("similar", "A1", 2)):
        assert shift.reply(*asked) == here.reply(*asked)
    assert shift.card == here.card


def test_refusals_come_as_they_are_and_faults_as_one(shift):
    with pytest.raises(Refused) as refused:
        shift.reply("customer", "nobody", (3, "all_items", None), False)
    assert (refused.value.status, refused.value.problem.error) == (404, "unknown_customer")
    with pytest.raises(RuntimeError, match="which it has logged"):
        shift.reply("nothing of the kind")
    assert "acme" in shift.reply(*ACME)


def test_signals_of_the_server_do_not_end_a_process_and_one_that_is_killed_is_replaced(shift):
    before, (pid,) = shift.reply(*ACME), processes()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert shift.reply(*ACME) == before
    assert processes() == [pid]
    os.kill(pid, signal.SIGKILL)
    assert shift.reply(*ACME) == before
    assert len(processes()) == 1
    assert processes() != [pid]


def test_a_bundle_that_cannot_be_opened_leaves_what_was_open(crew, shift, folder, tmp_path):
    with pytest.raises(ArtifactError, match="holds no bundle"):
        crew.open(tmp_path, "first")
    (tmp_path / CARD).write_bytes((folder / CARD).read_bytes())
    with pytest.raises(ArtifactError, match="differs from its"):
        crew.open(tmp_path, "first")
    assert "acme" in shift.reply(*ACME)


def test_a_shift_goes_on_after_the_next_has_begun(crew, shift, folder):
    second = crew.open(folder, "second")
    assert '"id":"first"' in shift.reply(*ACME)
    assert '"id":"second"' in second.reply(*ACME)


def test_the_processes_end_with_the_crew(run_root):
    before = set(processes())
    other = Crew(served(run_root), 2)
    assert len(set(processes()) - before) == 2
    other.close()
    assert set(processes()) == before
