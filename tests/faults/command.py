"""A `recsys` command in a session of its own, whose processes can be watched and killed, and what it left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_PATIENCE = 1200.0  # seconds that anything is waited for: a busy machine may take minutes for a run
_TICK = 0.02
_STARTED = re.compile(r"^\d\d:\d\d:\d\d (\w+): started$", re.MULTILINE)


@dataclass(frozen=True)
class Process:
    """A living process: who started it, and its command line."""

    parent: int
    command: str


@dataclass
class Command:
    """A command at work. Its streams go to files of the folder that it runs in."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def said(self) -> str:
        """What it wrote to stderr so far."""
        return self.err.read_text(errors="replace")

    @property
    def last_line(self) -> str:
        return (self.said.strip().splitlines() or [""])[-1]

    @property
    def started(self) -> list[str]:
        """Stages that it began to run, in order."""
        return _STARTED.findall(self.said)

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for something; fails where the command ends first, or where it never happens."""
        give_up = time.monotonic() + _PATIENCE
        while not happened():
            assert self.process.poll() is None or happened(), f"it ended before {what}:\n{self.said[-3000:]}"
            assert time.monotonic() < give_up, f"no {what}:\n{self.said[-3000:]}"
            time.sleep(_TICK)

    def processes(self) -> dict[int, Process]:
        """All living processes of its session by id: the driver, its JVM, Spark's Python daemon and its workers."""
        return session_of(self.process.pid)

    def workers(self) -> list[int]:
        """Python workers, which Spark's daemon forked."""
        alive = self.processes()
        daemons = {pid for pid, process in alive.items() if "-m recsys_spark.python_daemon" in process.command}
        return [pid for pid in daemons if alive[pid].parent in daemons]

    def kill_everything(self) -> None:
        """SIGKILL to every process of the session, the driver first, as when a machine goes down."""
        while alive := self.processes():
            for pid in sorted(alive):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
        self.process.wait()

    def kill_driver(self) -> None:
        """SIGKILL to the driver's Python alone, as when memory runs out; the rest has to end by itself."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal sends: SIGINT to the process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        return self.process.wait(timeout=_PATIENCE)

    def until_all_ended(self, seconds: float) -> None:
        """Fails where a process of the session still lives after so many seconds."""
        give_up = time.monotonic() + seconds
        while alive := self.processes():
            assert time.monotonic() < give_up, f"still alive after {seconds} s: {alive}"
            time.sleep(0.1)


@contextmanager
def recsys(folder: Path, *words: str) -> Iterator[Command]:
    """Start `recsys`. Its driver does not outlive the block; what one leaves behind has to end by itself."""
    number = len(list(folder.glob("*.err")))  # one that was killed may still have a JVM that writes to its own
    out, err = folder / f"{number:02}.out", folder / f"{number:02}.err"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.pipeline", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            start_new_session=True,
        )
    command = Command(process, out, err)
    try:
        yield command
    except BaseException:
        command.kill_everything()
        raise
    if command.process.poll() is None:
        command.kill_everything()


def session_of(leader: int) -> dict[int, Process]:
    """The living processes of a session by id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _group, session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            if int(session) == leader and state not in "ZX":
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(entry.name)] = Process(int(parent), command)
        except OSError:  # it has ended meanwhile
            continue
    return found
