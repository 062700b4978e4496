"""Folders as training leaves them, and batches of random histories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.candidates.index_build import write_index
from recsys_spark.candidates.tower_files import FittedFile, TowerFiles
from recsys_spark.contracts.retriever_config import IndexConfig
from recsys_spark.file_facts import sha256_of
from recsys_spark.sequences.windows import MICROS_PER_DAY, Events

ID_MAP = "7-00000000000000aa"
PLAIN_TOWER = {"user_tower": "history", "pooling": "mean", "decay_days": 90.0, "hist_max": 200}


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def random_vectors(num: int, dim: int, seed: int = 1) -> np.ndarray:
    """Unit rows by index; row 0 is zero."""
    vectors = unit(np.random.default_rng(seed).normal(size=(num + 1, dim))).astype(np.float32)
    vectors[0] = 0
    return vectors


def write_tower(
    folder: Path, items: np.ndarray, offsets: np.ndarray, users: np.ndarray | None = None, **told: Any
) -> Path:
    """What training leaves in its folder. told: of user_tower.npz."""
    np.save(folder / "item_embeddings.npy", items)
    np.save(folder / "item_offsets.npy", offsets.astype(np.float32))
    np.save(folder / "user_embeddings.npy", random_vectors(40, items.shape[1], seed=9) if users is None else users)
    np.savez(folder / "user_tower.npz", **(PLAIN_TOWER | told))
    return folder


def index_tower(folder: Path, eligible: list[int], **config: Any) -> TowerFiles:
    """Index a folder of `write_tower`; returns its files as tasks get them."""
    write_index(str(folder), np.array(eligible), ID_MAP, IndexConfig(**config), seed=3)
    names = ("item_embeddings.npy", "item_offsets.npy", "user_tower.npz", "index.faiss", "index.json")
    return TowerFiles(*(FittedFile(str(folder / name), sha256_of(folder / name)) for name in names), id_map=ID_MAP)


def histories(*customers: list[tuple[int, int]], day: int = 100, users: list[int] | None = None) -> QueryBatch:
    """One query on `day` for each customer; events are (day, item)."""
    events = [event for customer in customers for event in sorted(customer)]
    offsets = np.cumsum([0, *map(len, customers)])
    items, micros = (np.array([event[at] for event in events], dtype=np.int64) for at in (1, 0))
    rows = np.arange(len(customers))
    now = np.full(len(rows), day * MICROS_PER_DAY)
    who = np.array(users or rows + 1)
    return QueryBatch(rows, now, rows, offsets[:-1], offsets[1:], Events(offsets, items, micros * MICROS_PER_DAY), who)


def random_histories(num: int, num_items: int, most_events: int, seed: int = 2) -> QueryBatch:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most_events + 1, num)
    return histories(
        *(
            list(zip(rng.integers(0, 90, size).tolist(), rng.integers(1, num_items + 1, size).tolist(), strict=True))
            for size in sizes
        )
    )
