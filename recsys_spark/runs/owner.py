"""Who holds a lock, and whether that process is still at work."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

_SHOWN = 100  # characters of a command line
_SAME_START_SECONDS = 2.0  # beyond Linux, the clock may be set between two readings of a process's start


@dataclass(frozen=True)
class Owner:
    """A process that holds a lock.

    space: tells apart what shares a host name but not its process ids, such as containers and a machine before and
    after it was started. started: of the process, in seconds; see `_start_of`. since, beat: ISO times in UTC, of taking
    the lock and of its last sign of life. stage: what it works on.
    """

    token: str
    host: str
    space: str
    pid: int
    started: float
    command: str
    since: str
    beat: str
    stage: str = ""

    @staticmethod
    def of_this_process(command: str) -> Owner:
        """The process that calls, under a token that no other has."""
        started, time = _start_of(os.getpid()), now()
        return Owner(secrets.token_hex(8), socket.gethostname(), _space(), os.getpid(), started, command, time, time)

    @staticmethod
    def from_values(values: dict[str, Any] | None) -> Owner | None:
        """The owner that a lock file names, None for one that names none."""
        try:
            owner = Owner(**(values or {}))
            datetime.fromisoformat(owner.beat)
            return replace(owner, pid=int(owner.pid), started=float(owner.started))
        except (TypeError, ValueError):
            return None

    def values(self) -> dict[str, Any]:
        """What the lock file holds."""
        return asdict(self)

    def is_alive(self, limit_seconds: float) -> bool:
        """Whether the process still runs; one that cannot be seen from here is judged by its last sign of life."""
        is_here = (self.host, self.space) == (socket.gethostname(), _space())
        runs = self._runs() if is_here else None
        if runs is not None:
            return runs
        age = datetime.now(timezone.utc) - datetime.fromisoformat(self.beat)
        return age.total_seconds() < limit_seconds

    def __str__(self) -> str:
        stage = f", at stage {self.stage}" if self.stage else ""
        return f"process {self.pid} on {self.host} ('{_cut(self.command)}', since {self.since}{stage})"

    def _runs(self) -> bool | None:
        """Whether the process runs on this machine; None for one of another user that may not be looked at."""
        try:
            process = psutil.Process(self.pid)
            same = abs(_start_of(self.pid) - self.started) < _SAME_START_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.ZombieProcess:
            return False
        except psutil.Error:  # with `hidepid` also of a process that is there
            return None if psutil.pid_exists(self.pid) else False


def _start_of(pid: int) -> float:
    """When a process started: on Linux since the machine did, which no step of the clock moves; elsewhere since 1970.

    psutil tells the time since 1970 there too, by the clock as it goes now: after a step of three seconds a process
    that runs would seem to be another one.
    """
    with suppress(OSError):
        ticks = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[19]
        return int(ticks) / os.sysconf("SC_CLK_TCK")
    return psutil.Process(pid).create_time()


def now() -> str:
    """ISO time in UTC, in seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _cut(command: str) -> str:
    return command if len(command) <= _SHOWN else f"{command[:_SHOWN]}..."


def _space() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""
