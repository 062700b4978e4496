"""Another run takes the place of the one that is served while requests go on; a server starts, reloads and stops."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from fastapi.testclient import TestClient

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.serving.app import create_app
from recsys_spark.serving.bundle import CARD, BundleCard, Ids, prune
from recsys_spark.serving.bundle_reloader import BundleReloader
from recsys_spark.serving.plan import Served, plan_of
from recsys_spark.serving.prepare import prepare
from recsys_spark.serving.request_limiter import RequestLimiter
from recsys_spark.serving.state import State
from recsys_spark.serving.worker_pool import WorkerPool
from recsys_spark.storage import Storage
from tests.serving.worlds import EVENTS, SETTINGS, held_here, no_bundle_is_missing, served, write_run

pytestmark = [pytest.mark.torch, pytest.mark.slow]
REPOSITORY = Path(__file__).parents[2]
# In the second run acme buys C3 alone, so an answer tells which run each of its parts is from.
SECOND = [("acme", "C3", day) for day in (1, 8, 15)] + [event for event in EVENTS if event[0] != "acme"]
OWN = {"first": ["A1", "B2"], "second": ["C3"]}


@pytest.fixture(scope="module")
def roots(spark, run_root, tmp_path_factory) -> dict[str, Path]:
    """Both runs with their bundles."""
    other = tmp_path_factory.mktemp("second") / "second"
    prepare(served(other), write_run(spark, other, SECOND))
    return {"first": run_root, "second": other}


def put_in_place(run: Path, root: Path) -> None:
    """Let a root hold a run, as a run that was written anew does."""
    if root.exists():
        shutil.rmtree(root)
    shutil.copytree(run, root)


def own_products(answer: dict) -> list[str]:
    return [item["stock_code"] for item in answer["items"] if item["model"] == "personal_frequency"]


@contextmanager
def this_process(plan: Served) -> Iterator[tuple[BundleReloader, Callable[[], None]]]:
    """What is served, and what kills a process that answers: here none."""
    yield held_here(plan), lambda: None


@contextmanager
def two_processes(plan: Served) -> Iterator[tuple[BundleReloader, Callable[[], None]]]:
    """The same, answered by two processes."""
    others = set(multiprocessing.active_children())
    pool = WorkerPool(plan)
    try:
        yield (
            BundleReloader(plan, no_bundle_is_missing, pool.open),
            lambda: next(one for one in multiprocessing.active_children() if one not in others).kill(),
        )
    finally:
        pool.close()


@pytest.mark.parametrize("answering", [this_process, two_processes])
def test_requests_go_on_during_reloads_and_no_answer_mixes_two_runs(roots, tmp_path, answering):
    digests = {name: next((root / "serving").glob(f"*/{CARD}")).parent.name for name, root in roots.items()}
    assert digests["first"] != digests["second"]
    root = tmp_path / "run"
    put_in_place(roots["first"], root)
    # both bundles lie ready, so that a reload is a matter of milliseconds and many happen
    folder = tmp_path / "bundles"
    for run in roots.values():
        shutil.copytree(run / "serving", folder, dirs_exist_ok=True)
    limiter = RequestLimiter(threads=2, max_waiting=64, timeout_seconds=30.0)
    stop, wrong, counts = threading.Event(), [], {"first": 0, "second": 0}
    run_of = {digest: name for name, digest in digests.items()}

    def hammer(client: TestClient) -> None:
        while not stop.is_set():
            answer = client.get("/recommend/acme")
            if answer.status_code != 200:
                wrong.append(answer.text)
                continue
            told = answer.json()
            run = run_of[told["run"]["digest"]]
            counts[run] += 1
            if own_products(told) != OWN[run]:
                wrong.append(answer.text)

    with (
        answering(served(root, f"serve.folder={folder}", "serve.processes=2")) as (reloader, kill_one),
        TestClient(create_app(reloader, limiter), base_url="http://127.0.0.1") as client,
    ):
        threads = [threading.Thread(target=hammer, args=(client,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(6):
            put_in_place(roots["second" if number % 2 == 0 else "first"], root)
            assert reloader.refresh()
            assert not reloader.refresh()  # nothing new
            if number in (1, 3):
                kill_one()
        stop.set()
        for thread in threads:
            thread.join()
        assert reloader.num_reloads == 6
    limiter.close()
    assert wrong == []
    assert min(counts.values()) > 0


def test_a_run_that_is_being_written_is_not_served_and_the_old_one_goes_on(roots, tmp_path):
    root = tmp_path / "first"
    put_in_place(roots["first"], root)
    reloader = held_here(served(root))
    before = reloader.held
    storage = Storage(str(root))
    plan = plan_of(served(root), storage)
    (root / "evaluation.json.manifest.json").unlink()
    assert not reloader.refresh()
    assert reloader.held is before
    assert "evaluation.json" in reloader.last_error
    put_in_place(roots["first"], root)
    storage.write_stage_record("recommend", {"inputs": {**plan.inputs, "item_id_map.parquet": "older"}})
    with pytest.raises(ArtifactError, match=r"not finished: item_id_map.parquet is newer .* run recsys"):
        plan_of(served(root), storage)


def test_a_bundle_that_lost_a_file_or_its_card_is_refused(roots, tmp_path):
    source = next((roots["first"] / "serving").glob(f"*/{CARD}")).parent
    for name in ("items.npy", CARD):
        copy = tmp_path / name
        shutil.copytree(source, copy)
        (copy / name).unlink()
        with pytest.raises(ArtifactError, match="remove the folder and start again"):
            State.open(copy, served(roots["first"]), "first")
    assert BundleCard.read(source).digest == source.name


def test_every_id_is_found_and_nothing_else_is(roots):
    source = next((roots["first"] / "serving").glob(f"*/{CARD}")).parent
    ids = Ids(source / "customers.arrow")
    for index in range(1, len(ids) + 1):
        assert ids.find(ids.of(index)) == index
    assert [ids.find(text) for text in ("", "a", "acm", "acme ", "zzz", "\uffff")] == [None] * 6


def test_old_bundles_go_but_for_the_newest_and_the_one_in_use(tmp_path):
    a, b, c, d = (letter * 16 for letter in "abcd")
    for age, name in enumerate((a, b, c, d)):
        (tmp_path / name).mkdir()
        (tmp_path / name / CARD).write_text("{}")
        os.utime(tmp_path / name / CARD, (1000 - age, 1000 - age))
    for name, age in ((f".{a}.half", 0), (f".{b}.old", 100_000), (".git", 100_000)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / CARD).write_text("{}")
    os.utime(tmp_path / "mine" / CARD, (1, 1))
    assert prune(tmp_path, keep=2, in_use={d}) == [c]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{a}.half", ".git", a, b, d, "mine"]


@contextmanager
def server(root: Path, *pairs: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process of the console script, and its address."""
    settings = [f"paths.processed={root}", "serve.port=0", *SETTINGS, *pairs]
    words = [word for pair in settings for word in ("--set", pair)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "JAVA_HOME": "/nowhere", "PATH": "/nowhere"}
    command = [sys.executable, "-m", "jobs.pipeline", "serve", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY)
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "answers from run" in line:
                break
        else:
            pytest.fail("".join(lines))
        yield process, line.split("serve: ")[1].split()[0]
    finally:
        process.kill()
        process.wait()


def ask(url: str, data: bytes | None = None) -> dict:
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=60) as answer:
        return json.loads(answer.read())


def wait_for_reload(address: str, number: int) -> None:
    for _ in range(600):
        if ask(f"{address}/health")["reloads"] == number:
            return
        time.sleep(0.1)
    pytest.fail("no reload")


def test_a_server_starts_without_java_reloads_by_signal_and_by_request_and_ends_well(roots, tmp_path):
    root, folder = tmp_path / "run", tmp_path / "bundles"
    put_in_place(roots["first"], root)
    for run in roots.values():
        shutil.copytree(run / "serving", folder, dirs_exist_ok=True)
    with server(root, f"serve.folder={folder}", "serve.watch_seconds=0") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert own_products(ask(f"{address}/recommend/acme")) == OWN["first"]
        put_in_place(roots["second"], root)
        process.send_signal(signal.SIGHUP)
        wait_for_reload(address, 1)
        assert own_products(ask(f"{address}/recommend/acme")) == OWN["second"]
        put_in_place(roots["first"], root)
        assert ask(f"{address}/reload", data=b"")["status"] == "started"
        wait_for_reload(address, 2)
        assert own_products(ask(f"{address}/recommend/acme")) == OWN["first"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_server_finds_a_new_run_by_itself_and_nobody_answers_for_one_that_is_killed(roots, tmp_path):
    root, folder = tmp_path / "run", tmp_path / "bundles"
    put_in_place(roots["first"], root)
    for run in roots.values():
        shutil.copytree(run / "serving", folder, dirs_exist_ok=True)
    with server(root, f"serve.folder={folder}", "serve.watch_seconds=0.2") as (process, address):
        put_in_place(roots["second"], root)
        wait_for_reload(address, 1)
        assert own_products(ask(f"{address}/recommend/acme")) == OWN["second"]
        children = psutil.Process(process.pid).children()
        process.kill()
        assert psutil.wait_procs(children, timeout=30)[1] == []
