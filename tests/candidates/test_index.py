"""The index finds what exact search finds, and refuses to serve what it was not built from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

faiss = pytest.importorskip("faiss")

from recsys_spark.candidates.index import ItemIndex, load_index
from recsys_spark.candidates.index_build import ItemVectors, build, recall_at, sample_rows
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.errors import EXIT_GATE, ArtifactError, DataError, GateError
from recsys_spark.contracts.retriever_config import IndexConfig
from tests.candidates.tower_folders import index_tower, random_vectors, unit, write_tower

NUM_ITEMS, DIM = 300, 8
EVERY = list(range(1, NUM_ITEMS + 1))


def offsets_of(num: int) -> np.ndarray:
    return np.random.default_rng(4).normal(size=num + 1, scale=0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tower(tmp_path, random_vectors(NUM_ITEMS, DIM), offsets_of(NUM_ITEMS))


def clustered(num: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Item vectors in 20 tight clusters, and queries between two of them each."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(20, dim)))
    items = unit(centres[rng.integers(0, 20, num + 1)] + rng.normal(size=(num + 1, dim), scale=0.05))
    items[0] = 0
    pairs = rng.integers(0, 20, (51, 2))
    users = unit(centres[pairs[:, 0]] + centres[pairs[:, 1]])
    users[0] = 0
    return items.astype(np.float32), users.astype(np.float32)


@pytest.mark.parametrize("with_offsets", [True, False])
def test_flat_search_is_the_order_of_numpy(folder, with_offsets):
    items, offsets = np.load(folder / "item_embeddings.npy"), np.load(folder / "item_offsets.npy")
    queries = random_vectors(30, DIM, seed=5)[1:]
    eligible = EVERY[::2]
    found = load_index(index_tower(folder, eligible, kind="flat")).search(queries, np.full(30, 12), with_offsets)
    scores = queries @ items[eligible].T + with_offsets * offsets[eligible]
    order = np.argsort(-scores, axis=1)[:, :12]
    assert found.rows.tolist() == np.repeat(np.arange(30), 12).tolist()
    assert found.items.reshape(30, 12).tolist() == np.array(eligible)[order].tolist()
    np.testing.assert_allclose(found.scores.reshape(30, 12), np.take_along_axis(scores, order, axis=1), atol=1e-6)


def test_only_eligible_items_that_the_fit_knows_are_indexed(tmp_path):
    items = random_vectors(6, DIM)
    items[0], items[4] = items[1], 0  # 4 was never seen by the fit
    files = index_tower(write_tower(tmp_path, items, np.full(7, 5.0)), [0, 2, 4, 6, 99])
    found = load_index(files).search(random_vectors(3, DIM)[1:], np.full(3, 50))
    assert [sorted(found.items[found.rows == row].tolist()) for row in range(3)] == [[2, 6]] * 3


def test_each_query_gets_as_many_items_as_it_wants(folder):
    wanted = np.array([3, 250, 1, 1000, 3])
    index = load_index(index_tower(folder, EVERY))
    queries = random_vectors(5, DIM, seed=5)[1:]
    found = index.search(queries, wanted)
    assert np.bincount(found.rows).tolist() == [3, 250, 1, NUM_ITEMS, 3]
    alone = index.search(queries[1:2], wanted[1:2])
    assert found.items[found.rows == 1].tolist() == alone.items.tolist()


def test_auto_is_flat_for_few_items_and_ivf_for_many_with_lists_that_can_be_trained():
    known = ItemVectors.of(random_vectors(NUM_ITEMS, DIM), offsets_of(NUM_ITEMS), np.array(EVERY))
    assert build(known, IndexConfig(), 0)[1:] == ("flat", {})
    # 4 roots of 300 are 69 lists, of which 300 items can train 7.
    assert build(known, IndexConfig(flat_below=300), 0)[1:] == ("ivf", {"num_lists": 7, "num_probes": 7})
    assert build(known, IndexConfig(kind="ivf", num_lists=5, num_probes=2), 0)[2] == {"num_lists": 5, "num_probes": 2}


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_same_items_and_seed_make_the_same_index(kind):
    items, _ = clustered(2000, DIM)
    known = ItemVectors.of(items, offsets_of(2000), np.arange(2001))
    built = [build(known, IndexConfig(kind=kind), seed)[0] for seed in (1, 1, 2)]
    first, second, other = (faiss.serialize_index(index).tobytes() for index in built)
    assert first == second
    assert (first == other) == (kind == "hnsw")  # which draws levels under a seed of its own


@pytest.mark.parametrize("config", [{"kind": "ivf", "num_probes": 20}, {"kind": "hnsw"}])
def test_an_approximate_index_passes_the_gate_and_keeps_its_settings(tmp_path, config):
    items, users = clustered(2000, DIM)
    files = index_tower(write_tower(tmp_path, items, np.zeros(2001), users), list(range(2001)), **config)
    card = json.loads((tmp_path / "index.json").read_text())
    assert card["kind"] == config["kind"]
    assert 0.98 <= card["recall_at_100"] <= 1
    assert card["recall_queries"] == 50
    assert (card["num_items"], card["dim"], card["metric"]) == (2000, DIM, "inner_product")
    known = ItemVectors.of(items, np.zeros(2001, dtype=np.float32), np.arange(2001))
    assert recall_at(known, load_index(files), users[1:]) == pytest.approx(card["recall_at_100"])


@pytest.mark.parametrize("config", [{"kind": "ivf", "num_probes": 1}, {"kind": "hnsw", "hnsw_links": 2}])
def test_an_index_that_finds_too_little_is_not_written(tmp_path, config):
    items, users = clustered(2000, DIM)
    write_tower(tmp_path, items, np.zeros(2001), users)
    with pytest.raises(
        GateError, match=r"recall@100 of .* below index.min_recall 0.98; raise index.num_probes"
    ) as error:
        index_tower(tmp_path, list(range(2001)), **config)
    assert error.value.exit_code == EXIT_GATE
    assert not list(tmp_path.glob("index.*"))


def test_what_an_index_does_not_find_is_left_out(tmp_path):
    items, users = clustered(2000, DIM)
    write_tower(tmp_path, items, np.zeros(2001), users)
    index = load_index(index_tower(tmp_path, list(range(2001)), kind="ivf", num_probes=1, min_recall=0))
    found = index.search(users[1:], np.full(50, 2000))
    assert 0 < len(found.items) < 50 * 2000
    assert found.items.min() >= 1
    assert np.isfinite(found.scores).all()


def test_recall_counts_items_that_tie_with_the_last():
    items = np.repeat(random_vectors(2, DIM), [1, 5, 300], axis=0)  # equal vectors, more than a list takes
    known = ItemVectors.of(items, np.zeros(306, dtype=np.float32), np.arange(306))
    index, kind, _ = build(replace(known, items=known.items[::-1]), IndexConfig(), 0)
    assert recall_at(known, ItemIndex(index, kind), random_vectors(9, DIM, seed=7)[1:]) == 1


def test_sampled_customers_have_vectors():
    users = random_vectors(50, DIM)
    users[:47] = 0
    users[47:, 0] = range(4)
    assert set(sample_rows(users, 3, 0)[:, 0]) < {0, 1, 2, 3}
    assert sorted(sample_rows(users, 90, 0)[:, 0]) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="no customer has a vector"):
        sample_rows(np.zeros((4, DIM), np.float32), 3, 0)


@pytest.mark.parametrize("part", ["id_map", "item_embeddings", "item_offsets"])
def test_the_loader_refuses_another_model_and_another_id_map(folder, part):
    files = index_tower(folder, EVERY)
    other = replace(files, **{part: "1-22" if part == "id_map" else replace(getattr(files, part), content="1-22")})
    load_index(files)
    with pytest.raises(ArtifactError, match=f"{part} is 1-22, the card says .* run stage 'train_retriever' again"):
        load_index(other)


def test_the_loader_refuses_a_damaged_index(folder):
    files = index_tower(folder, EVERY)
    path = Path(files.index.path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="index is [0-9a-f]{64}, the card says"):
        load_index(files)


@pytest.mark.parametrize(("text", "message"), [("{", "no description"), ('{"kind": "flat"}', "no description")])
def test_the_loader_refuses_a_damaged_card(folder, text, message):
    files = index_tower(folder, EVERY)
    Path(files.index_card.path).write_text(text)
    with pytest.raises(ArtifactError, match=message):
        load_index(files)


def test_the_loader_refuses_a_card_of_other_sizes(folder):
    files = index_tower(folder, EVERY)
    card = Path(files.index_card.path)
    card.write_text(json.dumps(json.loads(card.read_text()) | {"dim": 9, "num_items": 1}))
    with pytest.raises(ArtifactError, match="dim is 8, the card says 9; num_items is 300, the card says 1"):
        load_index(files)


def test_files_in_a_store_are_copied_once_to_local_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    import fsspec

    fs = fsspec.filesystem("memory")
    vectors = random_vectors(4, DIM)
    with fs.open("/store/item_embeddings.npy", "wb") as file:
        np.save(file, vectors)
    stored = FittedFile("memory://store/item_embeddings.npy", "abc")
    assert stored.array().tolist() == vectors.tolist()
    fs.rm("/store", recursive=True)
    assert stored.array().tolist() == vectors.tolist()
    assert [path.name for path in tmp_path.rglob("*.npy*")] == ["abc.npy"]


@pytest.mark.gpu
@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="FAISS finds no GPU")
@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_a_gpu_finds_what_the_cpu_finds(folder, kind, monkeypatch):
    files = index_tower(folder, EVERY, kind=kind)
    queries, wanted = random_vectors(30, DIM, seed=5)[1:], np.full(30, 12)
    index = load_index(files)
    on_gpu = index.search(queries, wanted)
    assert index._gpu is not None  # None again where the GPU had no memory, and the CPU searched
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    load_index.cache_clear()
    on_cpu = load_index(files).search(queries, wanted)
    assert on_gpu.items.tolist() == on_cpu.items.tolist()
    np.testing.assert_allclose(on_gpu.scores, on_cpu.scores, atol=1e-5)
