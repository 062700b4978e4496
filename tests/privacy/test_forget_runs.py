"""Customers are forgotten in a root of runs, where a link leads to the current one."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from recsys_spark.contracts.artifacts import CUSTOMER_ID_MAP
from recsys_spark.contracts.errors import ConfigError, LockedError
from recsys_spark.contracts.load_config import load_config
from recsys_spark.privacy.forgotten import load_forgotten
from recsys_spark.runs.lock import LockRules, locked
from recsys_spark.runs.pipeline import Order, stages_done
from recsys_spark.runs.prune import rollback
from recsys_spark.runs.root import RunRoot
from tests.privacy.every_byte import places_of
from tests.privacy.forget_shop import GONE, OTHERS, PREPARATION, pairs_for, run_forget
from tests.support.frames import column


def test_a_root_of_runs_is_searched_and_built_anew_from_its_raw_lines(spark, copied, capsys):
    root = RunRoot(str(copied / "runs_of_mine"))
    root.create()
    run = root.create_run("sequences", None)
    shutil.copytree(copied / "run", root.place(run.id), dirs_exist_ok=True)
    root.write(replace(run, completed=run.opened))
    root.point_at(run.id)
    (copied / "shop.csv").unlink()  # the source is gone: what is left are the raw lines
    pairs = (f"paths.processed={root.root}",)
    with (
        locked(root.fs, root.lock_path(run.id), "recsys run", LockRules(600)),
        pytest.raises(LockedError, match=f"run {run.id} is worked in by process .*'recsys run'"),
    ):
        run_forget(copied, GONE, pairs=pairs)
    assert not load_forgotten(root.root)
    run_forget(copied, GONE, pairs=pairs)
    assert "found: nothing of them" in capsys.readouterr().out
    assert places_of(root.root, [GONE]) == []
    with pytest.raises(ConfigError, match="no longer holds what clean, entities, sequences made"):
        rollback(root, run.id, LockRules(600), "test")
    with stages_done(PREPARATION[1:], load_config(pairs=[*pairs_for(copied), *pairs]), Order("test")):
        pass
    current = root.current()
    assert current is not None
    assert current.id > run.id
    customers = spark.read.parquet(f"{root.folder(current.id)}/{CUSTOMER_ID_MAP.path}")
    assert sorted(column(customers, "customer_id")) == sorted(OTHERS)
