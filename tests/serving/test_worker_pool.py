"""Processes that answer: what they say is what one process says, and one that dies or hangs is replaced."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.serving.bundle import CARD
from recsys_spark.serving.documents import Basket, Refused
from recsys_spark.serving.replies import Replies
from recsys_spark.serving.worker_pool import PooledBundle, WorkerPool
from tests.serving.worlds import served

pytestmark = pytest.mark.torch
ACME = ("customer", "acme", (3, "all_items", None), True)


@pytest.fixture(scope="module")
def folder(run_root) -> Path:
    return next((run_root / "serving").glob(f"*/{CARD}")).parent


@pytest.fixture(scope="module")
def pool(run_root) -> Iterator[WorkerPool]:
    found = WorkerPool(served(run_root, "serve.processes=1", "serve.timeout_seconds=1"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def pooled(pool, folder) -> PooledBundle:
    return pool.open(folder, "first")


@pytest.fixture
def copied(folder, tmp_path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(folder, tmp_path / name))


def pids() -> list[int]:
    """Of the processes that live."""
    return [process.pid for process in multiprocessing.active_children() if process.name == "answers"]


def spoil(bundle: Path) -> None:
    """Leave a bundle that only who opens it finds damaged."""
    ids = bundle / "items.arrow"
    ids.write_bytes(bytes(ids.stat().st_size))


def test_a_process_says_what_this_one_would(run_root, folder, pooled):
    here = Replies.open(folder, served(run_root), "first")
    basket = Basket(items=["D4", "C3", "XX"], k=2)
    for asked in (ACME, ("basket", basket), ("similar", "A1", 2)):
        assert pooled.reply(*asked) == here.reply(*asked)
    assert pooled.card == here.card


def test_refusals_come_as_they_are_and_faults_as_one(pooled):
    with pytest.raises(Refused) as refused:
        pooled.reply("customer", "nobody", (3, "all_items", None), False)
    assert (refused.value.status, refused.value.problem.error) == (404, "unknown_customer")
    (pid,) = pids()
    with pytest.raises(RuntimeError, match="the log says why"):
        pooled.reply("nothing of the kind")
    assert "acme" in pooled.reply(*ACME)
    assert pids() == [pid]


def test_signals_of_the_server_do_not_end_a_process_and_one_that_is_killed_is_replaced(pooled):
    before, (pid,) = pooled.reply(*ACME), pids()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert pooled.reply(*ACME) == before
    assert pids() == [pid]
    os.kill(pid, signal.SIGKILL)
    assert pooled.reply(*ACME) == before
    assert len(pids()) == 1
    assert pids() != [pid]


def test_a_process_that_hangs_is_replaced(pooled):
    before, (pid,) = pooled.reply(*ACME), pids()
    os.kill(pid, signal.SIGSTOP)
    assert pooled.reply(*ACME) == before  # after six times a second
    assert pid not in pids()


def test_a_bundle_that_cannot_be_opened_leaves_what_was_open(pool, pooled, copied, tmp_path):
    with pytest.raises(ArtifactError, match="holds no bundle"):
        pool.open(tmp_path / "nowhere", "first")
    for number in range(3):
        bad = copied(f"bad{number}")
        spoil(bad)
        with pytest.raises(ArtifactError):
            pool.open(bad, "bad")
        assert "acme" in pooled.reply(*ACME)
    os.kill(pids()[0], signal.SIGKILL)
    assert "acme" in pooled.reply(*ACME)


def test_a_pool_goes_on_after_the_next_has_begun_and_the_one_before_may_be_gone(pool, folder, copied):
    older = copied("older")
    first = pool.open(older, "first")
    second = pool.open(folder, "second")
    assert '"id":"first"' in first.reply(*ACME)
    assert '"id":"second"' in second.reply(*ACME)
    shutil.rmtree(older)
    os.kill(pids()[0], signal.SIGKILL)
    assert [('"id":"second"' in second.reply(*ACME)) for _ in range(2)] == [True, True]


def test_a_process_that_takes_anothers_place_answers_for_the_bundle_before_too(pool, folder, copied):
    first = pool.open(copied("older"), "first")
    second = pool.open(folder, "second")
    os.kill(pids()[0], signal.SIGKILL)
    assert '"id":"first"' in first.reply(*ACME)
    assert '"id":"second"' in second.reply(*ACME)


def test_a_bundle_is_opened_though_a_process_died_and_the_bundle_before_is_gone(pool, folder, copied):
    older = copied("older")
    pool.open(older, "first")
    shutil.rmtree(older)
    os.kill(pids()[0], signal.SIGKILL)
    assert '"id":"second"' in pool.open(folder, "second").reply(*ACME)


def test_a_bundle_is_opened_though_a_process_died_when_nobody_asked(pool, folder):
    os.kill(pids()[0], signal.SIGKILL)
    assert '"id":"third"' in pool.open(folder, "third").reply(*ACME)


def test_the_processes_end_with_the_crew_and_none_takes_their_place(run_root, folder):
    before = set(pids())
    other = WorkerPool(served(run_root, "serve.processes=2"))
    pooled = other.open(folder, "first")
    assert (pooled.num_processes, len(set(pids()) - before)) == (2, 2)
    other.close()
    with pytest.raises(RuntimeError, match="the server ends"):
        pooled.reply(*ACME)
    with pytest.raises(ArtifactError, match="the server ends"):
        other.open(folder, "second")
    assert set(pids()) == before
