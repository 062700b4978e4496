"""The pipeline as spark-submit runs it on a standalone cluster of real processes, held against a local run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.dist import ENTRY, ZIP, write_zip
from jobs.pipeline import STAGES
from recsys_spark.contracts.load_config import load_config
from tests.cluster.standalone import LOOPBACK, WORKERS, Cluster, run_leashed, standalone_cluster
from tests.faults.artifacts import contents, differing
from tests.support.sessions import short_lived_jvm
from tests.support.small_shop import CONFIG, REPOSITORY, manifests, settings_of, write_shop

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.torch, pytest.mark.slow]

NAMES = [stage.name for stage in STAGES]
QUIET = "rootLogger.level = warn\nrootLogger.appenderRef.stdout.ref = err\nappender.err.type = Console\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """A folder with the shop's lines, the zip of the code, the submitted file, and a config for each run."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder / "shop.csv")
    write_zip(folder / ZIP)
    (folder / ENTRY).write_bytes((REPOSITORY / "jobs" / "pipeline.py").read_bytes())
    (folder / "log4j2.properties").write_text(QUIET + "appender.err.name = err\nappender.err.target = SYSTEM_ERR\n")
    # Two partitions, where the cluster is given three, and one process where it has four: output depends on neither.
    config = asdict(load_config([str(CONFIG)], settings_of(folder, cores=2, partitions=2)))
    config["ingest"]["sources"] = ["shop.csv"]  # both below the working directory, which executors have of their own
    for where in ("local", "cluster"):
        config["paths"]["processed"] = where
        path = folder / "conf" / f"{where}.yaml"  # not where the driver runs
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(plain(config), allow_unicode=True), encoding="utf-8")
    return folder


def plain(value: Any) -> Any:
    """With lists in place of tuples, which YAML does not know."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with standalone_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


def submit(cluster: Cluster, shop: Path, script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """With the zip, the config by --files, and what a JVM of a minute's life wants.

    What the driver prints comes by standard output, its messages too: so spark-submit passes it on.
    """
    options = ["--py-files", ZIP, "--files", "conf/cluster.yaml", "--executor-memory", "512m"]
    logging = f"-Dlog4j2.configurationFile={shop / 'log4j2.properties'}"
    options += ["--driver-java-options", f"{short_lived_jvm()} {logging}"]
    options += ["--conf", f"spark.executor.extraJavaOptions={short_lived_jvm()}"]
    options += ["--conf", "spark.sql.adaptive.enabled=true"]  # as it is without a setting; the local run is without it
    options += ["--conf", "spark.sql.shuffle.partitions=3", "--conf", "spark.default.parallelism=3"]
    return cluster.submit(script, *words, options=options, cwd=shop)


@pytest.fixture(scope="module")
def cluster_run(cluster, shop) -> list[subprocess.CompletedProcess[str]]:
    """The job of every stage, in order; ends with the first that fails. Each has the shipped config by its name."""
    done = []
    for name in NAMES:
        done.append(submit(cluster, shop, REPOSITORY / "jobs" / f"{name}.py", "--config", "cluster.yaml"))
        if done[-1].returncode:
            break
    return done


@pytest.fixture(scope="module")
def local_run(shop) -> subprocess.CompletedProcess[str]:
    """The same in one process, from the sources."""
    command = [sys.executable, "-m", "jobs.pipeline", "run", "--config", "conf/local.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, capture_output=True, text=True, cwd=shop, env=environment, timeout=900, check=False)


def stages_that_ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.split()[1] for line in done.stdout.splitlines() if line.endswith(": started")]


def test_spark_submit_runs_the_job_of_every_stage_on_the_cluster(cluster_run, cluster):
    assert [done.returncode for done in cluster_run] == [0] * len(NAMES), cluster_run[-1].stdout[-4000:]
    assert [stages_that_ran(done) for done in cluster_run] == [[f"{name}:"] for name in NAMES]
    for number in range(WORKERS):
        executors = list((cluster.folder / f"worker{number}").glob("app-*/*/stderr"))
        assert len(executors) >= len(NAMES)


def test_a_cluster_leaves_the_same_artifacts_as_a_local_run(cluster_run, local_run, shop):
    assert len(cluster_run) == len(NAMES)
    assert local_run.returncode == 0, local_run.stderr
    there, here = contents(shop / "cluster" / "current"), contents(shop / "local" / "current")
    assert sum(label.startswith("rankings_") for label in here) >= 8
    assert len(here) > 80
    assert differing(here, there) == []


def test_one_command_finds_what_the_jobs_left_up_to_date(cluster_run, cluster, shop):
    assert len(cluster_run) == len(NAMES)
    done = submit(cluster, shop, shop / ENTRY, "run", "--config", "cluster.yaml")
    assert done.returncode == 0, done.stdout[-4000:]
    assert stages_that_ran(done) == []
    assert len(list((shop / "cluster" / "runs").iterdir())) == 1


def test_code_from_the_zip_and_settings_have_the_digests_of_the_sources(cluster_run, local_run, shop):
    assert len(cluster_run) == len(NAMES)
    there, here = manifests(shop / "cluster" / "current"), manifests(shop / "local" / "current")
    assert len(here) > 80
    for label, manifest in here.items():
        for digest in ("code_digest", "config_digest"):
            assert there[label][digest] == manifest[digest], label


def test_a_job_runs_where_it_was_submitted_with_code_from_the_zip_on_every_process(cluster, shop):
    done = submit(cluster, shop, Path(__file__).parent / "where.py", "cluster.yaml")
    assert done.returncode == 0, done.stdout[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert yaml.safe_load((shop / "conf" / "cluster.yaml").read_text())["session"]["conf"]["spark.master"] == "local[2]"
    assert (found["master"], found["partitions"]) == (cluster.url, "3")  # of spark-submit, not of the config
    assert (found["app"], found["ansi"], found["daemon"]) == ("b2b-recommender", "false", None)
    assert len(found["executor_folders"]) == WORKERS
    assert all(f"{ZIP}/recsys_spark" in file for file in found["executor_files"])
    for launcher in ("barrier", "local"):
        assert found[launcher]["total"] == 21.0
        assert f"{ZIP}/training" in found[launcher]["file"]


def test_a_mistake_is_one_line_and_exit_2_through_spark_submit_too(cluster, shop):
    done = submit(cluster, shop, shop / ENTRY, "run", "--config", "claster.yaml")
    assert done.returncode == 2
    assert "error: config file 'claster.yaml' does not exist" in done.stdout.splitlines()
    assert "Traceback" not in done.stdout


def test_a_run_beyond_its_time_ends_with_all_that_it_started(tmp_path):
    started = time.monotonic()
    done = run_leashed(["bash", "-c", "echo $$; sleep 300 & sleep 300"], cwd=tmp_path, timeout=1)
    assert time.monotonic() - started < 60
    assert done.returncode == -signal.SIGKILL
    wait_until_gone(of_session_of(int(done.stdout)))


def test_nothing_of_a_cluster_outlives_a_killed_test_run(tmp_path):
    code = "import sys, time; from pathlib import Path; from tests.cluster.standalone import standalone_cluster\n"
    code += "with standalone_cluster(Path(sys.argv[1])) as cluster: print(cluster.url, flush=True); time.sleep(300)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    folder = tmp_path / "cluster"
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert f"spark://{LOOPBACK}:" in process.stdout.readline()
            alive = naming(str(folder))
            assert len(alive) >= 2  # the workers at least, which name their folders
        finally:
            process.kill()
    wait_until_gone(alive)
    assert naming(str(folder)) == set()


def naming(text: str) -> set[int]:
    """Processes other than this one whose command line holds the text."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if text in words and int(entry.name) != os.getpid():
            found.add(int(entry.name))
    return found


def of_session_of(pid: int) -> set[int]:
    """Processes of the process group whose member had this id, as long as there are any."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if pid in (int(fields[2]), int(entry.name)):
            found.add(int(entry.name))
    return found


def wait_until_gone(pids: set[int], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while left := {pid for pid in pids if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < ends, f"processes {sorted(left)} still run"
        time.sleep(0.1)
