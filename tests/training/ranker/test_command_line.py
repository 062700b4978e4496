"""A ranker is trained from its job's text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rankers import planted, publish_candidates, ranker_job

pytestmark = pytest.mark.torch


def test_a_ranker_is_trained_from_the_text_of_its_job(tmp_path):
    job = tmp_path / "job.json"
    path = publish_candidates(tmp_path / "t.parquet", planted(20))
    job.write_text(ranker_job(tmp_path, path, path).to_json())
    command = [sys.executable, "-m", "training.ranker", str(job)]
    told = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True).stdout
    assert len(json.loads(told)["members"]) == 2
    assert (tmp_path / "out" / "ranker_best.pt").exists()
