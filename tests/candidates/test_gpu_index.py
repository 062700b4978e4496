"""What fails on a GPU goes on on the CPU; FAISS's functions for GPUs, which the CPU's build lacks, are stood in for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

faiss = pytest.importorskip("faiss")

from recsys_spark.candidates import gpu_index, index, index_build
from recsys_spark.candidates.gpu_index import Gpu
from recsys_spark.candidates.index import ItemIndex
from recsys_spark.candidates.index_build import ItemVectors, build
from recsys_spark.contracts.retriever_config import IndexConfig
from tests.candidates.tower_folders import random_vectors

NUM_ITEMS, DIM = 300, 8
KNOWN = ItemVectors.of(random_vectors(NUM_ITEMS, DIM), np.zeros(NUM_ITEMS + 1), np.arange(1, NUM_ITEMS + 1))
QUERIES, WANTED = random_vectors(9, DIM, seed=5)[1:], np.full(9, 12)


class Resources:
    """Counts itself, and says how much memory it was told to hold."""

    made: list[Resources]

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        Resources.made.append(self)

    def setTempMemory(self, size: int) -> None:  # noqa: N802
        self.held["scratch"] = size

    def setPinnedMemory(self, size: int) -> None:  # noqa: N802
        self.held["pinned"] = size


class OutOfMemory:
    """An index on a GPU that has memory for nothing more."""

    def __init__(self, of: Any) -> None:
        self.cp = of.cp if hasattr(of, "cp") else None

    def search(self, *_: Any) -> None:
        raise RuntimeError("StandardGpuResources: alloc fail\nand where")

    train = search


@pytest.fixture
def gpu(monkeypatch) -> Gpu:
    """That of a process which has just begun, on a machine with two."""
    Resources.made = []
    found = Gpu()
    for module in (gpu_index, index, index_build):
        monkeypatch.setattr(module, "GPU", found)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    return found


def copies(monkeypatch, copy: Any) -> None:
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda resources, device, index: copy(index), raising=False)


def test_all_indices_of_a_process_share_what_faiss_holds_on_the_gpu(gpu, monkeypatch):
    copies(monkeypatch, faiss.clone_index)
    found = [ItemIndex(*build(KNOWN, IndexConfig(kind=kind), 0)[:2]) for kind in ("flat", "flat", "hnsw")]
    assert [one._gpu is not None for one in found] == [True, True, False]
    assert [one.held for one in Resources.made] == [{"scratch": 256 << 20, "pinned": 0}]


@pytest.mark.parametrize("fails", ["copy", "search"])
def test_a_gpu_without_memory_is_left_alone_and_told_of_once(gpu, monkeypatch, caplog, fails):
    copies(monkeypatch, OutOfMemory if fails == "search" else OutOfMemory.search)
    built = [build(KNOWN, IndexConfig(), seed)[:2] for seed in (0, 1)]
    found = [ItemIndex(*one).search(QUERIES, WANTED).items.tolist() for one in built]
    order = np.argsort(-(QUERIES @ KNOWN.vectors[1:].T), axis=1)[:, :12] + 1
    assert found == [order.ravel().tolist()] * 2
    assert gpu.copy_of(built[0][0]) is None
    assert [record.getMessage() for record in caplog.records] == [
        "FAISS goes on on the CPU, for its GPU failed: StandardGpuResources: alloc fail"
    ]


def test_an_index_that_does_not_fit_the_gpu_is_built_on_the_cpu(gpu, monkeypatch):
    config = IndexConfig(kind="ivf", num_lists=5, num_probes=2)
    copies(monkeypatch, OutOfMemory)
    failed = build(KNOWN, config, 1)[0]
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert faiss.serialize_index(failed).tobytes() == faiss.serialize_index(build(KNOWN, config, 1)[0]).tobytes()


def test_an_index_with_more_probes_than_a_gpu_takes_stays_on_the_cpu(gpu):
    ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, 5000, faiss.METRIC_INNER_PRODUCT)
    ivf.nprobe = 2049
    assert gpu.copy_of(ivf) is None
    assert not Resources.made
