"""A published ranker scores as the model that was trained, whatever is scored beside a query."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow  # noqa: F401  before torch
import pytest
import torch

from recsys_spark.contracts.errors import ArtifactError, ConfigError, DataError, SchemaError
from recsys_spark.ranker import score
from recsys_spark.ranker.score import Ranker, load_ranker
from tests.support.rankers import CONFIG, FEATURES, KINDS, need_lightgbm, planted, publish_candidates, ranker_job
from training.ranker.job import save_ranker
from training.ranker.model import RankerEnsemble, RankerMLP
from training.ranker.train import train_ranker
from training.ranker.transform import FeatureTransform

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
WORLD = planted(30, seed=5)


def saved(folder: Path, within_query: bool = True, kinds: tuple[str, ...] = KINDS) -> tuple[Ranker, RankerEnsemble]:
    """A ranker of three members as it is published, and the model itself."""
    torch.manual_seed(4)
    transform = FeatureTransform(kinds)
    transform.fit(planted(40).features)
    members = [RankerMLP(transform, 12, 0.4, within_query) for _ in range(3)]
    config = replace(CONFIG, within_query=within_query)
    job = ranker_job(folder, "train", None, config, kinds=kinds)
    states = [member.state_dict() for member in members]
    save_ranker(job, "mlp", kinds=list(kinds), within_query=within_query, members=states)
    return load_ranker(f"{folder}/out/ranker_best.pt", str(folder)), RankerEnsemble(members).eval()


@pytest.mark.parametrize("within_query", [True, False])
@pytest.mark.parametrize("kinds", [KINDS, ("standard",) * 4, ("quantile", "quantile", "log", "log")], ids=str)
def test_scores_are_those_of_the_trained_model(tmp_path, within_query, kinds):
    ranker, model = saved(tmp_path, within_query, kinds)
    batch = WORLD.batch()
    with torch.no_grad():
        in_single = model(batch.features, batch.query).numpy()
        expected = model.double()(batch.features.double(), batch.query).numpy()
    found = ranker.scores(WORLD.features, WORLD.query_id)  # any ascending numbers
    assert (found.dtype, found.shape) == (np.float64, (len(WORLD), 2))
    assert np.abs(found - expected).max() < 1e-12
    assert np.abs(found - in_single).max() < 1e-5
    assert found.std(axis=0).min() > 0.01


@pytest.mark.parametrize("rows_at_once", [1, 50, 2048])
def test_scores_of_a_query_are_the_same_alone_and_in_company(tmp_path, monkeypatch, rows_at_once):
    monkeypatch.setattr(score, "_ROWS_AT_ONCE", rows_at_once)
    ranker, _ = saved(tmp_path)
    together = ranker.scores(WORLD.features, WORLD.query())
    for number in range(30):
        own = WORLD.rows(WORLD.query() == number)
        assert np.abs(ranker.scores(own.features, own.query_id) - together[WORLD.query() == number]).max() < 1e-10
    alone = WORLD.rows([0])
    assert np.isfinite(ranker.scores(alone.features, alone.query())).all()


def test_a_ranker_is_loaded_once_for_each_content(tmp_path):
    saved(tmp_path)
    path = f"{tmp_path}/out/ranker_best.pt"
    assert load_ranker(path, "a") is load_ranker(path, "a")
    assert load_ranker(path, "a") is not load_ranker(path, "b")
    assert load_ranker(path, "a").features == FEATURES


def test_scoring_leaves_the_number_of_threads_as_it_was(tmp_path):
    ranker, _ = saved(tmp_path)
    torch.set_num_threads(2)
    try:
        ranker.scores(WORLD.features, WORLD.query())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("model", ["lambdarank", "binary"])
def test_trees_score_by_both_boosters(tmp_path, model):
    lightgbm = need_lightgbm()
    path = publish_candidates(tmp_path / "t.parquet", planted(60))
    trees = replace(CONFIG.gbdt, num_rounds=10, min_leaf_rows=5)
    train_ranker(ranker_job(tmp_path, path, None, replace(CONFIG, model=model, gbdt=trees)))
    file = f"{tmp_path}/out/ranker_best.pt"
    found = load_ranker(file, str(tmp_path)).scores(WORLD.features, WORLD.query())
    told = torch.load(file, weights_only=True)["boosters"]
    boosters = [lightgbm.Booster(model_str=told[head]) for head in ("all", "first")]
    expected = [booster.predict(WORLD.features, raw_score=True) for booster in boosters]
    assert np.array_equal(found, np.stack(expected, axis=1))
    assert not np.array_equal(found[:, 0], found[:, 1])
    assert len(load_ranker(file, str(tmp_path)).scores(WORLD.features[:0], WORLD.query()[:0])) == 0


def test_trees_without_lightgbm_name_the_extra(tmp_path, monkeypatch):
    save_ranker(ranker_job(tmp_path, "train", None), "gbdt", boosters={"all": "", "first": ""})
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match="cannot be imported .* install the extra gbdt"):
        load_ranker(f"{tmp_path}/out/ranker_best.pt", str(tmp_path))


def test_a_file_that_is_no_ranker_is_refused(tmp_path):
    damaged, other = tmp_path / "damaged.pt", tmp_path / "other.pt"
    damaged.write_bytes(b"x" * 99)
    torch.save({"format": 2, "kind": "mlp", "features": []}, other)
    with pytest.raises(ArtifactError, match=r"damaged\.pt is no ranker .*train it again"):
        load_ranker(str(damaged), "damaged")
    with pytest.raises(ArtifactError, match="is a ranker 'mlp' of format 2"):
        load_ranker(str(other), "other")


def test_what_cannot_be_scored_is_refused(tmp_path):
    ranker, _ = saved(tmp_path)
    features, query = WORLD.features, WORLD.query()
    with pytest.raises(SchemaError, match=r"the ranker scores 4 features, got an array \(\d+, 3\)"):
        ranker.scores(features[:, :3], query)
    for odd in (query[::-1], query[1:]):
        with pytest.raises(SchemaError, match="need as many queries, ascending"):
            ranker.scores(features, odd)
    unknown = features.copy()
    unknown[3, 1] = np.nan
    with pytest.raises(DataError, match=r"features \['times_bought'\] hold NaN"):
        ranker.scores(unknown, query)
    assert ranker.scores(features[:0], query[:0]).shape == (0, 2)


def test_scoring_needs_nothing_of_what_trains():
    code = "import sys, recsys_spark.ranker.score; print([name for name in sys.modules if name.startswith('training')])"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
