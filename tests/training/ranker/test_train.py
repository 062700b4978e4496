"""A ranker from published tables to the file that Spark reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow  # noqa: F401  before torch
import pytest
import torch

from recsys_spark.contracts.errors import ConfigError, DataError, SchemaError
from recsys_spark.contracts.ranker_config import GbdtConfig
from recsys_spark.manifest import SUFFIX
from recsys_spark.ranker.score import load_ranker
from tests.support.rankers import (
    CONFIG,
    FEATURES,
    KINDS,
    Candidates,
    need_lightgbm,
    planted,
    publish_candidates,
    ranker_job,
)
from training.ranker import train
from training.ranker.job import RankerJob
from training.ranker.schedule import cosine
from training.ranker.train import train_ranker

pytestmark = pytest.mark.torch

TREES = GbdtConfig(num_rounds=60, learning_rate=0.2, num_leaves=8, min_leaf_rows=5, patience=20)
LONGER = replace(CONFIG, max_epochs=8, patience=8, learning_rate=0.01, num_seeds=1, gbdt=TREES)


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> tuple[str, str]:
    """Training and dev candidates."""
    folder = tmp_path_factory.mktemp("tables")
    parts = {name: planted(number, seed) for name, number, seed in (("train", 60, 1), ("dev", 20, 2))}
    found = [publish_candidates(folder / f"{name}.parquet", rows) for name, rows in parts.items()]
    return found[0], found[1]


def load(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "out" / "ranker_best.pt", weights_only=True)


def weights(folder: Path) -> np.ndarray:
    """All weights of all members."""
    return np.concatenate([values.flatten().numpy() for state in load(folder)["members"] for values in state.values()])


def recall_at_1(folder: Path, rows: Candidates) -> tuple[float, float]:
    """Share of queries with a positive whose best candidate it is: of all by one head, of the new ones by the other."""
    ranker, found = load_ranker(str(folder / "out" / "ranker_best.pt"), str(folder)), []
    scores = ranker.scores(rows.features, rows.query())
    for place, kept in enumerate((np.ones(len(rows), bool), ~rows.is_repeat)):
        hits = []
        for number in np.unique(rows.query()):
            own = np.flatnonzero((rows.query() == number) & kept)
            if rows.label[own].any():
                hits.append(rows.label[own[np.argmax(scores[own, place])]])
        found.append(float(np.mean(hits)))
    return found[0], found[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "listwise"},
        {"loss": "listwise", "within_query": False},
        {"loss": "bce"},
        {"loss": "bce", "negatives_per_positive": 2, "feature_drop": 0.3},
        {"model": "lambdarank"},
        {"model": "binary"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_both_heads_find_what_was_planted_for_them(tmp_path, changes):
    if "model" in changes:
        need_lightgbm()
    path = publish_candidates(tmp_path / "t.parquet", planted(400, seed=1))
    train_ranker(ranker_job(tmp_path, path, None, replace(LONGER, **changes)))
    assert min(recall_at_1(tmp_path, planted(200, seed=3))) > 0.97


def test_training_leaves_one_file_and_says_what_it_came_to(tables, tmp_path):
    found = train_ranker(ranker_job(tmp_path, *tables))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ranker_best.pt"]
    told = load(tmp_path)
    states = told.pop("members")
    assert told == {
        "format": 1, "kind": "mlp", "features": list(FEATURES), "kinds": list(KINDS), "within_query": True
    }  # fmt: skip
    assert len(states) == len(found["members"]) == 2
    assert not torch.equal(states[0]["heads.weight"], states[1]["heads.weight"])
    assert torch.equal(states[0]["transform.knots"], states[1]["transform.knots"])
    for member in found["members"]:
        assert [entry["epoch"] for entry in member["curve"]] == [1, 2]
        assert all(0 <= entry["recall@20_first"] <= 1 for entry in member["curve"])
        assert 1 <= member["best_epoch"] <= 2
    assert found["seconds"] == pytest.approx(sum(member["seconds"] for member in found["members"]), abs=0.02)
    assert set(found["dev"]) >= {"recall@20", "ndcg@20_all", "ndcg@20_first"}
    assert json.loads(json.dumps(found)) == found  # plain values


def test_trees_end_with_their_best_round_on_the_dev_slice(tables, tmp_path):
    need_lightgbm()
    found = train_ranker(ranker_job(tmp_path, *tables, replace(LONGER, model="lambdarank")))
    assert {**load(tmp_path), "boosters": None} == {
        "format": 1, "kind": "gbdt", "features": list(FEATURES), "boosters": None
    }  # fmt: skip
    for head, told in found["boosters"].items():
        assert told["curve"].index(max(told["curve"])) == told["rounds"] - 1 < TREES.num_rounds
        assert load(tmp_path)["boosters"][head].count("Tree=") == told["rounds"]
    assert found["dev"]["ndcg@20"] > 0.95
    assert json.loads(json.dumps(found)) == found


def test_without_a_dev_slice_members_train_for_all_epochs(tables, tmp_path):
    found = train_ranker(ranker_job(tmp_path, tables[0], None))
    assert [member["best_epoch"] for member in found["members"]] == [2, 2]
    assert found["dev"] == {}


@pytest.mark.parametrize(("model", "schedule"), [("mlp", "cosine"), ("mlp", "plateau"), ("lambdarank", "cosine")])
def test_a_training_on_more_rows_takes_as_long_as_the_first_took_to_its_best(tables, tmp_path, model, schedule):
    if model != "mlp":
        need_lightgbm()
    first = ranker_job(
        tmp_path / "first", *tables, replace(LONGER, model=model, schedule=schedule, num_seeds=2, patience=1)
    )
    found = json.loads(json.dumps(train_ranker(first)))
    again = replace(ranker_job(tmp_path / "again", *tables, first.config).again(found), train_paths=tables)
    assert RankerJob.from_json(again.to_json()) == again
    more = train_ranker(again)
    assert more["dev"] == {}
    if model == "mlp":
        for member, earlier in zip(more["members"], found["members"], strict=True):
            rates = [entry["learning_rate"] for entry in earlier["curve"]][: earlier["best_epoch"]]
            expected = list(cosine(rates[0], len(rates))) if schedule == "cosine" else rates
            assert [entry["learning_rate"] for entry in member["curve"]] == expected
            assert member["examples"] > earlier["examples"]
    else:
        assert [told["rounds"] for told in more["boosters"].values()] == [
            told["rounds"] for told in found["boosters"].values()
        ]


def test_both_engines_train_the_same_ranker(tables, tmp_path):
    for engine in ("arrow", "petastorm"):
        train_ranker(ranker_job(tmp_path / engine, *tables, replace(CONFIG, engine=engine)))
    assert np.array_equal(weights(tmp_path / "arrow"), weights(tmp_path / "petastorm"))


@pytest.mark.parametrize("stop", [1, 7, 16])
@pytest.mark.parametrize("changes", [{}, {"loss": "bce", "negatives_per_positive": 1, "feature_drop": 0.5}])
def test_a_training_interrupted_within_an_epoch_of_a_member_ends_as_an_undisturbed_one(
    tables, tmp_path, monkeypatch, stop, changes
):
    config = replace(CONFIG, **changes)
    train_ranker(ranker_job(tmp_path / "undisturbed", *tables, config))
    resumed, given = ranker_job(tmp_path / "resumed", *tables, config), 0
    monkeypatch.setattr("training.ranker.train._loop_settings", saving_each_step(train._loop_settings))

    def ending(*args: Any) -> Iterator[Any]:
        nonlocal given
        for batch in whole_queries(*args):
            given += 1
            if given > stop:
                raise KeyboardInterrupt
            yield batch

    whole_queries = train.whole_queries
    with monkeypatch.context() as patched:
        patched.setattr(train, "whole_queries", ending)
        with pytest.raises(KeyboardInterrupt):
            train_ranker(resumed)
    assert not (tmp_path / "resumed" / "out").exists()
    train_ranker(resumed)
    assert np.abs(weights(tmp_path / "resumed") - weights(tmp_path / "undisturbed")).max() < 1e-6


def saving_each_step(settings_of: Any) -> Any:
    return lambda *args: replace(settings_of(*args), checkpoint_seconds=0.0)


@pytest.mark.parametrize("model", ["mlp", "lambdarank"])
def test_a_missing_feature_is_named(tmp_path, model):
    if model != "mlp":
        need_lightgbm()
    path = publish_candidates(tmp_path / "t.parquet", planted(20), without=["new_sign"])
    with pytest.raises(SchemaError, match="lacks column 'new_sign'; it has .*'repeat_sign'"):
        train_ranker(ranker_job(tmp_path, path, None, replace(CONFIG, model=model)))


@pytest.mark.parametrize("model", ["mlp", "lambdarank"])
def test_candidates_without_a_positive_are_refused(tmp_path, model):
    if model != "mlp":
        need_lightgbm()
    rows = planted(20)
    rows.label[:] = 0
    path = publish_candidates(tmp_path / "t.parquet", rows)
    with pytest.raises(DataError, match="the training rows hold no positive"):
        train_ranker(ranker_job(tmp_path, path, None, replace(CONFIG, model=model)))


def test_trees_without_lightgbm_name_the_extra(tables, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match="cannot be imported .* install the extra gbdt"):
        train_ranker(ranker_job(tmp_path, *tables, replace(CONFIG, model="binary")))


def test_a_job_comes_back_from_its_text(tables, tmp_path):
    job = ranker_job(tmp_path, *tables, replace(LONGER, drop_features=("a", "b")))
    assert RankerJob.from_json(job.to_json()) == job


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": ("a", "a")}, "features must be at least one name, each once"),
        ({"kinds": ("log",)}, "kinds must be 4, one for each feature"),
        ({"kinds": ("log", "log", "log", "cube")}, "an entry of kinds must be one of log | standard | quantile"),
        ({"config": replace(CONFIG, feature_drop=0.1, drop_features=("x",))}, "an entry of ranker.drop_features"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said.replace("|", r"\|")):
        ranker_job(tmp_path, "train", None, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "forest"}, "ranker.model must be one of mlp | lambdarank | binary | none, got 'forest'"),
        ({"loss": "mse"}, "ranker.loss must be one of listwise | bce"),
        ({"schedule": "linear"}, "ranker.schedule must be one of cosine | plateau"),
        ({"dropout": 1.0}, "ranker.dropout must be at least 0, below 1"),
        ({"num_seeds": 0}, "ranker.num_seeds must be 1 to 100"),
        ({"batch_rows": 0}, "ranker.batch_rows must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said.replace("|", r"\|")):
        replace(CONFIG, **changes)
    with pytest.raises(ConfigError, match="ranker.gbdt.num_leaves must be at least 2"):
        GbdtConfig(num_leaves=1)


def test_the_fingerprint_follows_what_decides_the_weights_and_nothing_else(tables, tmp_path):
    job = ranker_job(tmp_path, *tables)

    def of(world_size: int = 1, rows: int = 9, config: dict[str, Any] | None = None, **changes: Any) -> str:
        changed = replace(job, config=replace(job.config, **(config or {})), **changes)
        return changed.fingerprint(world_size, layout=((0, 0, rows),))

    same = [
        of(out_folder="/other"), of(checkpoint_folder="/other"), of(tracking_folder="/other"),
        of(config={"engine": "petastorm"}), of(config={"checkpoint_seconds": 1}), of(config={"tracking": "mlflow"}),
        of(config={"num_seeds": 5}), of(config={"gbdt": TREES}),
    ]  # fmt: skip
    assert set(same) == {of()}
    manifest = Path(job.train_paths[0] + SUFFIX)
    text = manifest.read_text()
    try:
        manifest.write_text(json.dumps({"content": "changed"}))
        changed = of()
    finally:
        manifest.write_text(text)
    others = [
        of(2),
        of(rows=8),
        of(seed=4),
        of(config={"hidden": 9}),
        of(config={"loss": "bce"}),
        of(kinds=("log",) * 4),
    ]
    assert len({of(), changed, *others}) == 8
