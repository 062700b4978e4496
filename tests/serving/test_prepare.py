"""The bundle of a run as it is made."""

from __future__ import annotations

import shutil

import pytest

from recsys_spark.serving import prepare as maker
from recsys_spark.storage import Storage
from tests.serving.worlds import served

pytestmark = pytest.mark.torch


def test_two_processes_may_make_the_bundle_of_a_run_at_once(spark, run_root, tmp_path, monkeypatch):
    root = tmp_path / "run"
    shutil.copytree(run_root, root, ignore=shutil.ignore_patterns("serving"))
    read, made = maker.read_columns, []

    def prepare() -> None:
        made.append(maker.prepare(served(root), Storage(str(root), spark)))

    def read_late(path, *names):
        """Before the first reads its sales, the second makes all and ends."""
        if path.endswith("/sales"):
            monkeypatch.setattr(maker, "read_columns", read)
            prepare()
        return read(path, *names)

    monkeypatch.setattr(maker, "read_columns", read_late)
    prepare()
    assert len(made) == 2
    assert list(made[0].parent.iterdir()) == [made[0]] == [made[1]]
    assert list((root / "_staging").glob("serve*")) == []
