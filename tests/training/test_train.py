"""A tower from published tables to the files that Spark reads."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from recsys_spark.contracts.retriever_config import TowerConfig
from recsys_spark.manifest import SUFFIX
from tests.support.tower_tables import HIST_MAX, make_job, publish, type_of
from tests.support.towers import NUM_ITEMS
from training.batches import RetrieverBatch
from training.process_group import Group
from training.retriever import train
from training.retriever.item_facts import ItemFacts
from training.retriever.train import RetrieverJob, train_retriever

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
TOWER = TowerConfig(user_tower="both", dim=8, num_blocks=1, num_negatives=8, batch_size=8, max_epochs=3, patience=3)
FILES = {"item_embeddings.npy", "item_offsets.npy", "user_embeddings.npy", "user_tower.npz"}


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> RetrieverJob:
    return make_job(tmp_path_factory.mktemp("tables"), TOWER)


def into(job: RetrieverJob, folder: Path, **changes: Any) -> RetrieverJob:
    return replace(job, out_folder=str(folder / "out"), checkpoint_folder=str(folder / "checkpoints"), **changes)


def embeddings(folder: Path) -> np.ndarray:
    found = np.load(folder / "out" / "item_embeddings.npy")
    return np.concatenate([found, np.load(folder / "out" / "user_embeddings.npy")])


def test_training_leaves_every_file_and_says_what_it_came_to(job, tmp_path):
    found = train_retriever(into(job, tmp_path))
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert [entry["epoch"] for entry in found["curve"]] == [1, 2, 3]
    assert all(0 <= entry["recall@20"] <= entry["recall@100"] <= 1 for entry in found["curve"])
    assert (found["examples"], found["steps_per_epoch"]) == (35, 4)
    assert json.loads(json.dumps(found)) == found  # plain values
    items = np.load(tmp_path / "out" / "item_embeddings.npy", mmap_mode="r")
    assert np.flatnonzero((items == 0).all(axis=1)).tolist() == [0, NUM_ITEMS]


def test_a_fit_of_known_length_takes_the_epochs_and_learning_rates_given(job, tmp_path):
    rates = (0.01, 0.005)
    found = train_retriever(into(job, tmp_path, dev_paths=(), num_epochs=2, learning_rates=rates))
    assert [entry["learning_rate"] for entry in found["curve"]] == list(rates)
    assert (found["best_epoch"], "recall@20" in found["curve"][0]) == (2, False)


def test_both_engines_train_the_same_tower(job, tmp_path):
    for engine in ("arrow", "petastorm"):
        train_retriever(into(job, tmp_path / engine, engine=engine))
    assert np.array_equal(embeddings(tmp_path / "arrow"), embeddings(tmp_path / "petastorm"))


def test_a_tower_that_is_told_of_sales_leaves_the_vectors_of_histories_apart(job, tmp_path):
    told = replace(TOWER, user_tower="history", trend=False, trend_input=True, context=("month", "showroom"))
    train_retriever(into(job, tmp_path, tower=told))
    items = np.load(tmp_path / "out" / "item_embeddings.npy")
    with np.load(tmp_path / "out" / "user_tower.npz") as tower:
        assert tower["history_emb"].shape == items.shape
        assert np.abs(tower["history_emb"] - items).max() > 1e-3
        assert (tower["context.month"].shape, tower["context.showroom"].shape) == ((13, 8), (1025, 8))


@pytest.mark.parametrize("targets", ["all", "new"])
def test_the_share_of_an_item_is_that_among_the_targets_that_count(job, targets):
    count = np.arange(NUM_ITEMS + 1.0) if targets == "all" else np.arange(NUM_ITEMS + 1.0) % 3
    count[NUM_ITEMS] = 0  # without an event
    found = ItemFacts.load(job.items_path, NUM_ITEMS, replace(TOWER, targets=targets)).share
    assert found.numpy() == pytest.approx(count / count.sum())


def test_vectors_of_customers_are_made_of_as_many_events_as_the_tower_learns_from(job, tmp_path):
    table = pq.read_table(job.users_path)
    cut = [[0] * (HIST_MAX - 2) + history[-2:] for history in table.column("history").to_pylist()]
    columns = {name: table.column(name) for name in table.column_names} | {"history": pa.array(cut, type_of("history"))}
    found = {}
    for name, changes in (
        ("two", {"hist_max": 2}),
        ("cut", {"users_path": publish(tmp_path / "users", columns)}),
        ("whole", {}),
    ):
        train_retriever(into(job, tmp_path / name, **changes))
        found[name] = np.load(tmp_path / name / "out" / "user_embeddings.npy")
    assert np.array_equal(found["two"], found["cut"])
    assert np.abs(found["two"] - found["whole"]).max() > 1e-3


def test_customers_with_an_example_are_those_of_all_paths(tmp_path):
    paths = [publish(tmp_path / name, {"user_idx": users}) for name, users in (("a", [3, 1, 3]), ("b", [6]))]
    assert train._customers_of(paths, 7).nonzero().flatten().tolist() == [1, 3, 6]


def test_a_tower_has_no_side_features_but_its_own(job):
    def side(*features: str) -> Any:
        return ItemFacts.load(job.items_path, NUM_ITEMS, replace(TOWER, side_features=features)).side

    assert side() is None
    assert side("brand")[:3].tolist() == [[0, 0], [2, 0], [3, 0]]
    assert side("price", "brand")[:3].tolist() == [[0, 0, 0, 0], [5, 0, 2, 0], [4, 0, 3, 0]]


def test_side_features_change_the_vectors(job, tmp_path):
    for name, features in (("with", ("brand",)), ("without", ())):
        train_retriever(into(job, tmp_path / name, tower=replace(TOWER, side_features=features)))
    assert np.abs(embeddings(tmp_path / "with") - embeddings(tmp_path / "without")).max() > 0.01


@pytest.mark.parametrize("stop", [1, 6, 10])
def test_a_training_interrupted_within_an_epoch_of_its_files_ends_as_an_undisturbed_one(
    job, tmp_path, monkeypatch, stop
):
    train_retriever(into(job, tmp_path / "undisturbed"))
    resumed, read = into(job, tmp_path / "resumed", checkpoint_seconds=0.0), []

    class Ending(RetrieverBatch):
        @classmethod
        def of(cls, columns):
            read.append(1)
            if len(read) > stop:
                raise KeyboardInterrupt
            return RetrieverBatch.of(columns)

    with monkeypatch.context() as patched:
        patched.setattr(train, "RetrieverBatch", Ending)
        with pytest.raises(KeyboardInterrupt):
            train_retriever(resumed)
    assert not (tmp_path / "resumed" / "out").exists()
    train_retriever(resumed)
    assert np.abs(embeddings(tmp_path / "resumed") - embeddings(tmp_path / "undisturbed")).max() < 1e-6


def test_the_fingerprint_follows_what_decides_the_weights_and_nothing_else(job, tmp_path):
    same = [
        into(job, tmp_path), replace(job, engine="petastorm"), replace(job, checkpoint_seconds=1.0),
        replace(job, tracking="mlflow"), replace(job, tracking_folder="/elsewhere"), replace(job, users_path="/other"),
    ]  # fmt: skip
    layout = ((0, 0, 9), (1, 0, 9))
    assert {one.fingerprint(1, layout) for one in same} == {job.fingerprint(1, layout)}
    others = [replace(job, seed=4), replace(job, tower=replace(TOWER, dim=9)), replace(job, clip_norm=2.0)]
    manifest = Path(job.train_paths[0] + SUFFIX)
    text = manifest.read_text()
    try:
        manifest.write_text(json.dumps({"content": "changed"}))
        changed = job.fingerprint(1, layout)
    finally:
        manifest.write_text(text)
    found = {job.fingerprint(1, layout), job.fingerprint(2, layout), job.fingerprint(1, ((0, 0, 18),)), changed}
    assert len({*found, *(one.fingerprint(1, layout) for one in others)}) == 7


def test_a_checkpoint_is_not_gone_on_with_where_the_same_examples_lie_in_other_row_groups(job, tmp_path, monkeypatch):
    """Its place in the epoch is that of other rows there."""
    whole = pq.read_table(job.train_paths[0])
    columns = {name: whole.column(name) for name in whole.column_names}
    relaid = publish(tmp_path / "train", columns, num_files=2)
    manifest = Path(job.train_paths[0] + SUFFIX).read_text()
    Path(relaid + SUFFIX).write_text(manifest)
    given = []
    monkeypatch.setattr(train, "_loop_settings", lambda *args: given.append(args[2]) or stop())

    def stop():
        raise KeyboardInterrupt

    for paths in (job.train_paths, (relaid,)):
        with pytest.raises(KeyboardInterrupt):
            train_retriever(into(job, tmp_path, train_paths=paths))
    assert given == [((0, 0, 9), (1, 0, 9), (2, 0, 9), (3, 0, 8)), ((0, 0, 18), (1, 0, 17))]


@pytest.mark.parametrize(("ranks", "warned"), [(1, False), (2, False), (3, True)])
def test_a_batch_that_the_processes_cannot_share_evenly_is_told(job, caplog, ranks, warned):
    options = train._reader_options(job, Group(world_size=ranks), shuffle=True)
    assert options.batch_size == 8 // ranks
    said = "batch_size is 8, but 3 processes share it evenly: a step takes 6 examples"
    assert caplog.messages == ([said] if warned else [])


def test_a_temperature_that_is_learned_leaves_where_it_started(job, tmp_path):
    for learns in (True, False):
        tower = replace(TOWER, learn_temperature=learns, temperature=0.3)
        train_retriever(into(job, tmp_path / str(learns), tower=tower))
        state = torch.load(tmp_path / str(learns) / "checkpoints" / "checkpoint.pt", weights_only=True)
        assert (abs(float(state["model"]["log_temperature"].exp()) - 0.3) > 1e-3) == learns


@pytest.mark.parametrize(
    ("precision", "capability", "expected"),
    [("auto", (7, 5), False), ("auto", (9, 0), True), ("float32", (9, 0), False), ("bfloat16", (7, 5), True)],
)
def test_bfloat16_is_chosen_where_the_gpu_computes_in_it(job, monkeypatch, precision, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    on_gpu, on_cpu = (Group(device=torch.device(kind)) for kind in ("cuda", "cpu"))
    chosen = replace(job, precision=precision)
    assert train._loop_settings(chosen, on_gpu, ()).autocast == expected
    assert train._loop_settings(chosen, on_cpu, ()).autocast == (precision == "bfloat16")


@pytest.mark.slow
def test_two_processes_under_torchruns_environment_train_one_tower(job, tmp_path):
    text = tmp_path / "job.json"
    text.write_text(into(job, tmp_path).to_json())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "training.retriever", str(text)]
    own = [
        {**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank), "CUDA_VISIBLE_DEVICES": ""}
        for rank in (0, 1)
    ]
    processes = [subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) for env in own]
    try:
        said = [process.communicate(timeout=400)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [text.count("curve") for text in said] == [1, 0]
    assert len(json.loads(said[0][said[0].index("{") :])["curve"]) == 3
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_a_compiled_tower_is_the_tower(job, tmp_path, monkeypatch):
    compiled, by_torch = [], nn.Module.compile

    def without_a_compiler(module: nn.Module, **options: Any) -> None:
        compiled.append(type(module).__name__)
        by_torch(module, backend="eager", **options)  # the default one takes half a minute

    monkeypatch.setattr(nn.Module, "compile", without_a_compiler)
    for name, is_compiled in (("compiled", True), ("plain", False)):
        train_retriever(into(job, tmp_path / name, compile=is_compiled))
    assert compiled == ["Head", "Head"]
    assert np.abs(embeddings(tmp_path / "compiled") - embeddings(tmp_path / "plain")).max() < 1e-5
