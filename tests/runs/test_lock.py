"""Locks among real processes: one wins, a living owner is named, a dead one is replaced, and every way out releases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fsspec
import psutil
import pytest

from recsys_spark.contracts.errors import EXIT_USAGE, LockedError
from recsys_spark.runs import lock as lock_module
from recsys_spark.runs.lock import LockRules, living_owner, locked, owner_of
from recsys_spark.runs.owner import Owner
from recsys_spark.storage import Storage
from tests.support.sessions import listen_to_ctrl_c

ROOT = Path(__file__).parents[2]
RULES = LockRules(limit_seconds=600)
LOCAL = fsspec.filesystem("file")
# Holds the lock until it is told to end, or for a while; says so on stdout.
HOLDER = """
import sys, time
from pathlib import Path
import fsspec
from recsys_spark.contracts.errors import LockedError
from recsys_spark.runs.lock import LockRules, ending_on_sigterm, locked
path, go, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
try:
    with ending_on_sigterm(), locked(fsspec.filesystem("file"), path, f"holder {seconds}", LockRules(600)):
        print("held", flush=True)
        time.sleep(seconds)
except LockedError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "_lock.json")


def holder(path: str, go: Path, seconds: float = 60) -> subprocess.Popen[str]:
    """A process that is ready to take the lock as soon as the file `go` is there."""
    command = [sys.executable, "-c", HOLDER, path, str(go), str(seconds)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen_to_ctrl_c
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def other(path, tmp_path):
    """A process that holds the lock."""
    (tmp_path / "go").touch()
    process = holder(path, tmp_path / "go")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_with_the_owner_s_name(path, other):
    said = rf"held by process {other.pid} on .* \('holder 60\.0', since 20"
    with pytest.raises(LockedError, match=said) as caught, locked(LOCAL, path, "second", RULES):
        pass
    assert caught.value.exit_code == EXIT_USAGE
    assert living_owner(LOCAL, path, RULES).pid == other.pid


def test_a_process_that_waits_gets_the_lock_once_it_is_free(path, tmp_path):
    (tmp_path / "go").touch()
    process = holder(path, tmp_path / "go", seconds=0.5)
    assert process.stdout.readline() == "held\n"
    with locked(LOCAL, path, "second", LockRules(600, wait_seconds=30)):
        assert owner_of(LOCAL, path).pid == os.getpid()
    assert process.wait() == 0


@pytest.mark.parametrize("is_reaped", [True, False])
def test_the_lock_of_a_killed_process_is_taken_over_with_a_line_in_the_log(path, other, caplog, is_reaped):
    other.send_signal(signal.SIGKILL)
    if is_reaped:
        other.wait()
    else:  # a zombie still has its process id
        time.sleep(0.3)
    with locked(LOCAL, path, "second", RULES):
        assert owner_of(LOCAL, path).pid == os.getpid()
    assert f"process {other.pid} on" in caplog.text
    assert "is gone" in caplog.text
    assert list(Path(path).parent.iterdir()) == [Path(path).parent / "go"]


@pytest.mark.slow
@pytest.mark.parametrize("left_by", [None, "a dead owner", "a writer killed in the middle"])
def test_of_several_processes_that_race_for_a_lock_exactly_one_wins(path, tmp_path, left_by):
    if left_by == "a dead owner":
        dead = Owner.of_this_process("dead").values() | {"started": 1.0}
        Path(path).write_text(json.dumps(dead))
    elif left_by:
        Path(path).write_text('{"token": "ab')
    processes = [holder(path, tmp_path / "go", seconds=20) for _ in range(6)]
    (tmp_path / "go").touch()
    losers = []
    give_up = time.monotonic() + 15
    while len(losers) < 5 and time.monotonic() < give_up:
        losers = [process for process in processes if process.poll() is not None]
        time.sleep(0.05)
    (winner,) = [process for process in processes if process not in losers]
    assert owner_of(LOCAL, path).pid == winner.pid
    for process in losers:
        assert process.returncode == EXIT_USAGE
        assert f"is held by process {winner.pid}" in process.stderr.read()
    winner.terminate()
    winner.communicate()
    assert list(tmp_path.iterdir()) == [tmp_path / "go"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_that_is_told_to_end_releases_its_lock(path, other, number, code):
    other.send_signal(number)
    assert other.wait(timeout=30) == code
    assert not Path(path).exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_error_releases_the_lock(path, error):
    with pytest.raises(error), locked(LOCAL, path, "me", RULES):
        raise error
    assert not Path(path).exists()


def elsewhere(age: timedelta) -> dict:
    """An owner on another machine, who gave a sign of life so long ago."""
    beat = (datetime.now(timezone.utc) - age).isoformat(timespec="seconds")
    return Owner.of_this_process("theirs").values() | {"host": "another", "beat": beat}


def test_an_owner_on_another_machine_is_judged_by_its_last_sign_of_life(path):
    Path(path).write_text(json.dumps(elsewhere(timedelta(seconds=300))))
    with pytest.raises(LockedError, match="on another"), locked(LOCAL, path, "me", RULES):
        pass
    Path(path).write_text(json.dumps(elsewhere(timedelta(seconds=700))))
    with locked(LOCAL, path, "me", RULES):
        assert owner_of(LOCAL, path).command == "me"


def test_a_process_id_given_to_another_process_is_no_owner(path):
    Path(path).write_text(json.dumps(Owner.of_this_process("old").values() | {"started": 1_000_000_000.0}))
    with locked(LOCAL, path, "me", RULES):
        assert owner_of(LOCAL, path).command == "me"


def test_a_lock_gives_signs_of_life_and_names_the_stage(path):
    with locked(LOCAL, path, "me", LockRules(limit_seconds=1)) as lock:
        first = owner_of(LOCAL, path).beat
        lock.at_stage("clean")
        time.sleep(2.2)
        assert owner_of(LOCAL, path).beat > first
        assert owner_of(LOCAL, path).stage == "clean"


def test_a_lock_that_another_took_is_not_removed_and_work_stops(path):
    theirs = elsewhere(timedelta())
    with locked(LOCAL, path, "me", RULES) as lock:
        Path(path).write_text(json.dumps(theirs))
        with pytest.raises(LockedError, match="was taken from this process; it is held by .* on another"):
            lock.at_stage("clean")
    assert json.loads(Path(path).read_text()) == theirs


def test_a_sign_of_life_that_fails_is_not_the_last(path, monkeypatch):
    write, failed = lock_module.write_whole, []

    def fail_once(*given):
        if not failed:
            failed.append(True)
            raise RuntimeError("the store's own kind of error")
        write(*given)

    with locked(LOCAL, path, "me", LockRules(limit_seconds=1)) as lock:
        first = owner_of(LOCAL, path).beat
        monkeypatch.setattr(lock_module, "write_whole", fail_once)
        time.sleep(2.2)
        assert failed
        assert owner_of(LOCAL, path).beat > first
        lock.require_held()


def test_who_lost_the_lock_between_two_stages_publishes_nothing_more(path, tmp_path):
    with locked(LOCAL, path, "me", RULES) as lock:  # no sign of life for a minute
        storage = Storage(str(tmp_path / "run"), require_held=lock.require_held)
        storage.open_root()
        staged = storage.stage_text("ingest", "lines.json", "{}")
        Path(path).write_text(json.dumps(elsewhere(timedelta())))
        for attempt in (
            lambda: storage.publish("ingest", "lines.json", staged),
            lambda: storage.write_stage_record("ingest", {}),
            lambda: storage.sweep("ingest"),
            lambda: storage.drop_checkpoints("ingest"),
        ):
            with pytest.raises(LockedError, match="was taken from this process"):
                attempt()
    assert storage.manifest("lines.json") is None
    assert storage.stage_record("ingest") is None


def test_a_process_of_another_user_is_judged_by_its_last_sign_of_life(monkeypatch):
    def refuse(_self):
        raise psutil.AccessDenied

    owner = Owner.of_this_process("theirs")
    long_ago = replace(owner, beat=(datetime.now(timezone.utc) - timedelta(seconds=700)).isoformat())
    monkeypatch.setattr(psutil.Process, "status", refuse)
    assert [each.is_alive(600) for each in (owner, long_ago)] == [True, False]


def test_a_step_of_the_clock_makes_no_owner_another_process(monkeypatch):
    owner = Owner.of_this_process("me")
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 3)
    assert owner.is_alive(600)


def test_a_forked_process_leaves_the_lock_to_its_parent(path):
    with locked(LOCAL, path, "me", RULES) as lock:
        child = os.fork()
        if child == 0:
            lock.release()
            os._exit(0)
        os.waitpid(child, 0)
        assert owner_of(LOCAL, path).pid == os.getpid()


def test_a_store_without_links_has_locks_too():
    memory = fsspec.filesystem("memory")
    first, second = (locked(memory, "/locks/_lock.json", name, RULES) for name in ("me", "other"))
    with first, pytest.raises(LockedError), second:
        pass
    assert not memory.exists("/locks/_lock.json")
