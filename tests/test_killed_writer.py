"""A run that dies at any moment of writing leaves nothing that could be taken for whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.support.frames import rows
from tests.support.stages import ANN_AND_BOB, PEOPLE, PEOPLE_TABLE, config_for, people, stage_of

ROOT = Path(__file__).parents[1]
# Writes a table that never ends, in a process of its own.
DURING_THE_WRITE = """
import sys
from pathlib import Path
from pyspark.sql import functions as F
from recsys_spark.contracts.config import SessionConfig
from recsys_spark.session import get_session
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.support.stages import PEOPLE, config_for, stage_of

def run(io, config):
    endless = io.spark.range(0, 10**12, numPartitions=2)
    return {"rows": io.write(PEOPLE, endless.withColumn("name", F.lit("half")))}

root = Path(sys.argv[1])
local = {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1"}
spark = get_session(SessionConfig(conf={**local, "spark.driver.host": "127.0.0.1"}))
run_stage(stage_of(run), config_for(root), Storage(str(root), spark))
"""
# Writes a file and hangs between moving it into place and giving it a manifest; needs no Spark.
BEFORE_THE_MANIFEST = """
import sys, time
from pathlib import Path
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.support.stages import FACTS, config_for, stage_of

class Hanging(Storage):
    def _write_text(self, label, text):
        if label.startswith("facts"):
            time.sleep(600)
        super()._write_text(label, text)

def run(io, config):
    io.write_json(FACTS, {"half": True})
    return {}

root = Path(sys.argv[1])
run_stage(stage_of(run, writes=(FACTS,)), config_for(root), Hanging(str(root), spark=None))
"""


def kill_once(script: str, root: Path, pattern: str) -> None:
    """Run the script, and kill it with all its children once a file matches the pattern."""
    writer = subprocess.Popen([sys.executable, "-c", script, str(root)], cwd=ROOT, start_new_session=True)
    try:
        give_up = time.monotonic() + 120
        while not any(root.glob(pattern)):
            assert writer.poll() is None, "the writer ended by itself"
            assert time.monotonic() < give_up, f"no {pattern} after two minutes"
            time.sleep(0.1)
    finally:
        os.killpg(writer.pid, signal.SIGKILL)
        writer.wait()


@pytest.mark.slow
def test_a_table_whose_writer_was_killed_is_unreadable_and_made_again(spark, tmp_path):
    root = tmp_path / "root"
    kill_once(DURING_THE_WRITE, root, "_staging/**/part-*.parquet")
    storage = Storage(str(root), spark)
    with pytest.raises(ArtifactError, match="is missing or was not finished"):
        storage.read_table("people.parquet", PEOPLE_TABLE)

    def run(io, config):
        return {"rows": io.write(PEOPLE, people(io.spark, ANN_AND_BOB))}

    outcome = run_stage(stage_of(run), config_for(root), storage)
    assert not outcome.skipped
    assert rows(storage.read_table("people.parquet", PEOPLE_TABLE, verify="full")) == ANN_AND_BOB
    assert not (root / "_staging").exists()


def test_an_artifact_killed_before_its_manifest_does_not_exist(tmp_path):
    root = tmp_path / "root"
    kill_once(BEFORE_THE_MANIFEST, root, "facts.json")
    storage = Storage(str(root), spark=None)  # type: ignore[arg-type]
    assert (root / "facts.json").exists()
    with pytest.raises(ArtifactError, match="is missing or was not finished"):
        storage.read_json("facts.json")
    assert storage.stage_record("people") is None
