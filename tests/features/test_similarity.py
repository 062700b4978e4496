"""Cosines to the history against loops."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("faiss")

from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.features import similarity
from recsys_spark.features.similarity import similarity_features
from tests.candidates.tower_folders import random_histories, random_vectors
from tests.features.test_features import COSINES

NUM_ITEMS, HIST_MAX, RECENT, SIMILAR = 30, 12, 3, 6


@pytest.mark.torch
@pytest.mark.parametrize("bytes_at_a_time", [1 << 30, 100])
def test_cosines_agree_with_loops(bytes_at_a_time, monkeypatch):
    monkeypatch.setattr(similarity, "_BYTES_AT_A_TIME", bytes_at_a_time)
    batch, vectors = random_histories(20, NUM_ITEMS, 25), random_vectors(NUM_ITEMS - 2, 8)
    rng = np.random.default_rng(5)
    rows = np.sort(rng.integers(0, 20, 90))
    candidates = CandidateRows(
        rows, rng.integers(1, NUM_ITEMS + 1, 90), np.zeros((90, 0), np.int32), np.zeros((90, 0), np.float32)
    )
    found = similarity_features(batch, candidates, vectors, HIST_MAX, RECENT, SIMILAR)
    known = np.vstack([vectors, np.zeros((2, 8))])  # the last two items came after the fit
    for place, (row, item) in enumerate(zip(rows, candidates.items, strict=True)):
        own = slice(batch.start[row], batch.end[row])
        items, micros = batch.events.items[own], batch.events.micros[own]
        history = known[items[-HIST_MAX:]]
        cosines = known[items] @ known[item]
        mean = history.mean(axis=0)
        is_known = items <= NUM_ITEMS - 2
        expected = {
            "dot_uv": mean @ known[item] / np.linalg.norm(mean),
            "sim_mean": mean @ known[item],
            "max_sim_recent": max(cosines[-RECENT:][is_known[-RECENT:]], default=0),
            "sim_max": max(cosines[-SIMILAR:][is_known[-SIMILAR:]], default=0),
            "sim_last_basket": cosines[micros == micros[-1]].mean(),
        }
        assert set(expected) == COSINES
        for name, value in expected.items():
            assert found[name][place] == pytest.approx(value, abs=1e-6), name


@pytest.mark.torch
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_cosines_of_the_cpu(monkeypatch):
    batch, vectors = random_histories(50, 300, 40), random_vectors(300, 64)
    rows = np.sort(np.random.default_rng(5).integers(0, 50, 2000))
    nothing = np.zeros((2000, 0))
    items = np.random.default_rng(6).integers(1, 301, 2000)
    candidates = CandidateRows(rows, items, nothing.astype(np.int32), nothing.astype(np.float32))
    found = []
    for device in ("cuda", "cpu"):
        monkeypatch.setattr(similarity, "_device", lambda device=device: torch.device(device))
        found.append(similarity_features(batch, candidates, vectors, HIST_MAX, RECENT, SIMILAR))
    for name in COSINES:
        np.testing.assert_allclose(found[0][name], found[1][name], atol=1e-6, rtol=0, err_msg=name)


@pytest.mark.torch
def test_without_a_history_all_cosines_are_zero():
    batch = random_histories(2, NUM_ITEMS, 5)
    empty = replace(batch, end=batch.start)
    candidates = CandidateRows(
        np.array([0, 1]), np.array([3, 4]), np.zeros((2, 0), np.int32), np.zeros((2, 0), np.float32)
    )
    found = similarity_features(empty, candidates, random_vectors(NUM_ITEMS, 8), HIST_MAX, RECENT, SIMILAR)
    assert all(values.tolist() == [0, 0] for values in found.values())
