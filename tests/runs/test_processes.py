"""Real processes over one root: one opens the run, a killed one is gone on with, Ctrl-C leaves no lock."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.status import status_of
from tests.support.sessions import listen_to_ctrl_c
from tests.support.shops import Shop

ROOT = Path(__file__).parents[2]
# Runs the stages of a shop; the last one waits for a file to go. Starts once the file `go` is there.
RUNNER = """
import sys, time
from pathlib import Path
from recsys_spark.command_line import finish, guarded
from recsys_spark.runs import choose, pipeline, work
from tests.support.shops import NAMES, Shop

class Waiting(Shop):
    def _recommend(self, io, config):
        while (self.folder / "wait").exists():
            time.sleep(0.05)
        return super()._recommend(io, config)

folder = Path(sys.argv[1])
for module in (choose, pipeline, work):
    module.STAGE_NAMES = NAMES
shop = Waiting(folder)
print("ready", flush=True)
while not (folder / "go").exists():
    time.sleep(0.001)
finish(guarded(shop.run, debug=False))
print(" ".join(shop.ran))
"""


@pytest.fixture
def shop(shop) -> Shop:
    (shop.folder / "wait").touch()
    return shop


def runner(shop: Shop) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUNNER, str(shop.folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen_to_ctrl_c
    )
    assert process.stdout.readline() == "ready\n"
    return process


def until_it_is_at(shop: Shop, stage: str) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        if shop.ids() and (status := status_of(shop.stages, shop.config())).owner and status.owner.stage == stage:
            return
        time.sleep(0.1)
    raise AssertionError(f"no process came to {stage}")


@pytest.mark.slow
def test_of_several_processes_that_start_at_once_one_opens_the_run_and_the_others_name_it(shop):
    processes = [runner(shop) for _ in range(3)]
    (shop.folder / "go").touch()
    until_it_is_at(shop, "recommend")
    give_up = time.monotonic() + 90
    while sum(process.poll() is not None for process in processes) < 2 and time.monotonic() < give_up:
        time.sleep(0.1)
    (shop.folder / "wait").unlink()
    told = {process.pid: process.communicate() for process in processes}
    (winner,) = [process.pid for process in processes if process.returncode == 0]
    assert told[winner][0] == "ingest clean recommend\n"
    losers = [told[process.pid][1] for process in processes if process.returncode == 2]
    assert len(losers) == 2
    assert all(f"is held by process {winner} on" in text.splitlines()[-1] for text in losers)
    assert shop.ids() == [shop.pointer()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "outcome"),
    [(signal.SIGKILL, -9, "running"), (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "interrupted")],
)
def test_the_same_command_goes_on_where_one_that_was_stopped_had_come_to(shop, number, code, outcome):
    (shop.folder / "go").touch()
    first = runner(shop)
    until_it_is_at(shop, "recommend")
    first.send_signal(number)
    first.communicate()
    assert first.returncode == code
    (run,) = RunRoot(str(shop.root)).runs()
    assert (run.outcome, run.is_complete) == (outcome, False)
    assert (shop.root / "runs" / run.id / "_lock.json").exists() == (number == signal.SIGKILL)
    (shop.folder / "wait").unlink()
    second = runner(shop)
    out, err = second.communicate()
    assert (second.returncode, out) == (0, "recommend\n")
    assert (f"process {first.pid} on" in err and "is gone" in err) == (number == signal.SIGKILL)
    assert shop.pointer() == run.id
