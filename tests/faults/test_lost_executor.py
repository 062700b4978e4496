"""On a cluster, an executor or a worker killed while others need its shuffle files costs time and nothing else."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cluster.standalone import standalone_cluster
from tests.faults.artifacts import differing
from tests.faults.command import REPOSITORY
from tests.faults.conftest import STAGES
from tests.faults.fault_shop import FaultShop
from tests.support.sessions import short_lived_jvm

pytestmark = [pytest.mark.cluster, pytest.mark.faults, pytest.mark.slow, pytest.mark.spark]


EXECUTOR, WORKER = b"executor.CoarseGrainedExecutorBackend", b"deploy.worker.Worker"


def processes_below(folder: Path, kind: bytes) -> list[int]:
    """Processes of the cluster of one kind: executors work in their worker's folder, workers in that of the logs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            is_kind = words[0].endswith(b"java") and any(word.endswith(kind) for word in words)
            if is_kind and (entry / "cwd").resolve().is_relative_to(folder.resolve()):
                found.append(int(entry.name))
    return sorted(found)


@pytest.mark.parametrize("kind", [EXECUTOR, WORKER], ids=["executor", "worker"])
def test_a_killed_process_of_the_cluster_is_made_up_for_and_the_run_ends_with_the_same_artifacts(
    undisturbed, tmp_path, kind
):
    shop = FaultShop(undisturbed.folder, tmp_path / "root")
    with standalone_cluster(tmp_path / "cluster") as cluster:
        conf = {
            "spark.master": cluster.url,
            "spark.executorEnv.PYTHONPATH": str(REPOSITORY),
            "spark.executor.memory": "512m",
            "spark.executor.extraJavaOptions": short_lived_jvm(),
        }
        pairs = ", ".join(f"{key}: '{value}'" for key, value in conf.items())
        with shop.recsys("run", "--to", STAGES[-1], "--set", f"session.conf={{{pairs}}}") as command:
            command.until(lambda: bool(shop.staged("clean")), "clean had files aside")
            os.kill(processes_below(cluster.folder, kind)[0], signal.SIGKILL)
            code = command.end()
    assert code == 0, command.said[-3000:]
    assert "Lost executor" in command.said
    assert command.started == STAGES
    assert differing(undisturbed.contents(), shop.contents()) == []
