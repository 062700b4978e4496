"""Trees where a head has no rows, or none that says when to stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow  # noqa: F401  before torch
import pytest

from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.ranker_config import GbdtConfig
from recsys_spark.ranker.score import load_ranker
from tests.support.rankers import CONFIG, need_lightgbm, planted, publish_candidates, ranker_job
from training.ranker.train import train_ranker

pytestmark = pytest.mark.torch

TREES = GbdtConfig(num_rounds=7, learning_rate=0.2, num_leaves=8, min_leaf_rows=5, patience=20)
RANKER = replace(CONFIG, model="lambdarank", num_seeds=1, gbdt=TREES)


@pytest.fixture(scope="module")
def training_rows(tmp_path_factory) -> str:
    return publish_candidates(tmp_path_factory.mktemp("tables") / "train.parquet", planted(60, seed=1))


def test_trees_take_all_rounds_where_the_dev_slice_has_no_positive_of_a_head(training_rows, tmp_path, caplog):
    need_lightgbm()
    dev = planted(20, seed=2)
    dev.label[~dev.is_repeat] = 0
    path = publish_candidates(tmp_path / "repeats.parquet", dev)
    job = ranker_job(tmp_path, training_rows, path, RANKER)
    told = train_ranker(job)["boosters"]
    assert told["first"] == {"rounds": 7, "curve": []}
    assert len(told["all"]["curve"]) > 1
    assert "no positive for the head 'first'" in caplog.text


def test_trees_bear_a_dev_slice_of_repeats_alone(training_rows, tmp_path):
    need_lightgbm()
    rows = planted(20)
    rows.is_repeat[:] = True
    dev = publish_candidates(tmp_path / "dev.parquet", rows)
    found = train_ranker(ranker_job(tmp_path, training_rows, dev, RANKER))
    assert found["boosters"]["first"] == {"rounds": 7, "curve": []}


def test_a_head_without_candidates_takes_the_trees_of_the_other(tmp_path, caplog):
    need_lightgbm()
    rows = planted(20)
    rows.is_repeat[:] = True
    path = publish_candidates(tmp_path / "t.parquet", rows)
    job = ranker_job(tmp_path, path, None, RANKER)
    told = train_ranker(job)["boosters"]
    assert told["first"] == told["all"]
    assert "no candidate is new to its customer" in caplog.text
    ranker = load_ranker(str(Path(job.out_folder) / "ranker_best.pt"), "digest")
    scores = ranker.scores(rows.features, rows.query_id)
    assert (scores[:, 0] == scores[:, 1]).all()


def test_trees_need_a_positive(tmp_path):
    need_lightgbm()
    rows = planted(20)
    rows.label[:] = 0
    path = publish_candidates(tmp_path / "t.parquet", rows)
    with pytest.raises(DataError, match="hold no positive"):
        train_ranker(ranker_job(tmp_path, path, None, RANKER))
