"""A standalone Spark cluster of real processes on this machine, of which nothing stays.

Each program runs in a process group of its own below a shell that waits for the end of its standard input: a pipe
that closes when it is closed here or when this process ends, be it killed. The shell then kills the group.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from recsys_spark.session import ensure_java
from tests.support.sessions import short_lived_jvm

SPARK_HOME = Path(pyspark.__file__).parent
LOOPBACK = "127.0.0.1"
WORKERS = 2
_DEPLOY = "org.apache.spark.deploy"
_MASTER = re.compile(r"Starting Spark master at (spark://\S+)")
_JOINED = re.compile(r"Registering worker ")
_LEASHED = '{ read -r _ <&3; kill -KILL 0; } & "$@" 3<&- </dev/null; code=$?; kill $!; exit $code'
_STARTS_WITHIN = 60.0  # seconds


@dataclass(frozen=True)
class Cluster:
    """url: of the master. folder: holds its logs and the workers' folders."""

    url: str
    folder: Path

    def submit(self, script: Path, *words: str, options: Sequence[str] = (), cwd: Path) -> subprocess.CompletedProcess:
        """Run a script by spark-submit in client mode, its executors with this Python."""
        command = [str(SPARK_HOME / "bin" / "spark-submit"), "--master", self.url, "--deploy-mode", "client"]
        return run_leashed([*command, *options, str(script), *words], cwd, timeout=600)


@contextmanager
def standalone_cluster(folder: Path, cores: int = 1, memory: str = "1g") -> Iterator[Cluster]:
    """A master and two workers with so many cores and so much memory each."""
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        ports = ["--host", LOOPBACK, "--port", "0", "--webui-port", "0"]
        log = folder / "master.log"
        stack.enter_context(_leashed(spark_class("master.Master", *ports), log))
        url = _found(_MASTER, log)[0]
        given = ["--cores", str(cores), "--memory", memory]
        for number in range(WORKERS):
            place = ["--work-dir", str(folder / f"worker{number}")]
            worker = spark_class("worker.Worker", *ports, *given, *place, url)
            stack.enter_context(_leashed(worker, folder / f"worker{number}.log"))
        _found(_JOINED, log, times=WORKERS)
        yield Cluster(url, folder)


def spark_class(name: str, *words: str) -> list[str]:
    return [str(SPARK_HOME / "bin" / "spark-class"), f"{_DEPLOY}.{name}", *words]


def run_leashed(command: Sequence[str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """The finished process; it and whatever it started are killed when the time is up."""
    with _shell(command, cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        leash, process.stdin = process.stdin, None  # communicate would close it at once
        with leash:
            try:
                out, told = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                leash.close()
                out, told = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, told)


@contextmanager
def _leashed(command: Sequence[str], log: Path) -> Iterator[None]:
    with log.open("w") as out, _shell(command, log.parent, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def _shell(command: Sequence[str], cwd: Path, **streams: object) -> subprocess.Popen[str]:
    ensure_java()
    environment = {
        **os.environ,
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": short_lived_jvm(),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    # Without settings of this machine's user: the class path begins with Spark's own folder, which is not there.
    for name in ("PYTHONPATH", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET", "SPARK_CONF_DIR"):
        environment.pop(name, None)
    shell = ["bash", "-c", f"exec 3<&0; {_LEASHED}", "bash", *command]
    return subprocess.Popen(
        shell, cwd=cwd, env=environment, stdin=subprocess.PIPE, start_new_session=True, text=True, **streams
    )


def _found(pattern: re.Pattern[str], log: Path, times: int = 1) -> list[str]:
    """What a log says, as often as expected; fails with the log where it does not say it in time."""
    ends = time.monotonic() + _STARTS_WITHIN
    while len(found := pattern.findall(log.read_text())) < times:
        assert time.monotonic() < ends, f"no '{pattern.pattern}' within {_STARTS_WITHIN} s:\n{log.read_text()}"
        time.sleep(0.1)
    return found
