"""Builds the FAISS index over the item vectors of a tower, and lets it pass only where it finds what exact search does.

Names: N indexed items, Q queries, D embedding size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import Ints
from recsys_spark.candidates.gpu_index import GPU
from recsys_spark.candidates.index import METRIC, IndexCard, ItemIndex
from recsys_spark.contracts.columns import PAD_IDX
from recsys_spark.contracts.errors import DataError, GateError
from recsys_spark.contracts.retriever_config import IndexConfig
from recsys_spark.file_facts import sha256_of

INDEX_FILE, CARD_FILE = "index.faiss", "index.json"
RECALL_AT = 100
Vectors = npt.NDArray[np.float32]
Built = tuple[faiss.Index, str, dict[str, int]]  # an index on the CPU, its kind, its settings

_ROWS = 16_384  # items joined with their offsets at a time
_TIE = 1e-5  # scores this close count as equal where recall is measured: sums of float32 differ by their order
_PER_LIST = 39, 256  # items: fewer cannot place a centroid, more do not place it better (FAISS's own bounds)


@dataclass(frozen=True)
class ItemVectors:
    """Vectors (num_items + 1, D) and offsets (num_items + 1,) by item_idx, and the items to index, ascending (N,)."""

    vectors: Vectors
    offsets: Vectors
    items: Ints

    @classmethod
    def of(cls, vectors: Vectors, offsets: Vectors, eligible: Ints) -> ItemVectors:
        """The eligible items that have a vector, as those have that the fit knows. Raises DataError without any."""
        items = np.unique(eligible[(eligible != PAD_IDX) & (eligible < len(vectors))]).astype(np.int64)
        known = [vectors[items[first : first + _ROWS]].any(axis=1) for first in range(0, len(items), _ROWS)]
        items = items[np.concatenate(known)] if known else items
        if len(items) == 0:
            raise DataError(
                "no eligible item has a vector; the item vectors are not of the fit that these items are of"
            )
        return cls(vectors, offsets, items)

    @property
    def width(self) -> int:
        return self.vectors.shape[1] + 1

    def joined(self, items: Ints) -> Vectors:
        """Vectors with their offsets behind, (items, D + 1)."""
        return np.column_stack([self.vectors[items], self.offsets[items]]).astype(np.float32)

    def parts(self) -> Iterator[tuple[Ints, Vectors]]:
        """All items and their joined vectors, some at a time."""
        for first in range(0, len(self.items), _ROWS):
            items = self.items[first : first + _ROWS]
            yield items, self.joined(items)


def write_index(folder: str, eligible: Ints, id_map: str, config: IndexConfig, seed: int) -> IndexCard:
    """Index the item vectors that training left in a local folder: writes index.faiss and index.json beside them.

    eligible: item_idx that may be ranked. id_map: content of the ITEM_ID_MAP. Raises GateError, and writes nothing,
    where the index misses more of the best items of sampled customers than index.min_recall allows.
    """
    place = Path(folder)
    vectors, offsets, users = (
        np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("item_embeddings", "item_offsets", "user_embeddings")
    )
    known = ItemVectors.of(vectors, offsets, eligible)
    index, kind, settings = build(known, config, seed)
    queries = sample_rows(users, config.recall_queries, seed)
    recall = recall_at(known, ItemIndex(index, kind), queries)
    if recall < config.min_recall:
        raise GateError(
            f"index: recall@{RECALL_AT} of {kind} {settings} is {recall:.4f} over {len(queries)} customers, below "
            f"index.min_recall {config.min_recall}; raise index.num_probes (ivf) or index.hnsw_search (hnsw), or set "
            "index.kind to flat"
        )
    faiss.write_index(index, str(place / INDEX_FILE))
    card = IndexCard(
        kind=kind,
        settings=settings,
        metric=METRIC,
        dim=vectors.shape[1],
        num_items=len(known.items),
        id_map=id_map,
        item_embeddings=sha256_of(place / "item_embeddings.npy"),
        item_offsets=sha256_of(place / "item_offsets.npy"),
        index=sha256_of(place / INDEX_FILE),
        recall_at_100=round(recall, 6),
        recall_queries=len(queries),
        faiss=faiss.__version__,
    )
    (place / CARD_FILE).write_text(json.dumps(asdict(card), indent=1), encoding="utf-8")
    return card


def build(known: ItemVectors, config: IndexConfig, seed: int) -> Built:
    """An index whose ids are item_idx."""
    kind = config.kind
    if kind == "auto":
        kind = "flat" if len(known.items) < config.flat_below else "ivf"
    builders = {"flat": _build_flat, "ivf": _build_ivf, "hnsw": _build_hnsw}
    return builders[kind](known, config, seed)


def _build_flat(known: ItemVectors, config: IndexConfig, seed: int) -> Built:  # noqa: ARG001 (nothing to choose)
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(known.width))
    _add(index, known)
    return index, "flat", {}


def _build_ivf(known: ItemVectors, config: IndexConfig, seed: int) -> Built:
    fewest, most = _PER_LIST
    num_lists = min(config.num_lists or round(4 * len(known.items) ** 0.5), max(len(known.items) // fewest, 1))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(known.width), known.width, num_lists, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = min(config.num_probes, num_lists)
    sample = known.items
    if len(sample) > most * num_lists:
        sample = np.sort(np.random.default_rng(seed).choice(sample, most * num_lists, replace=False))
    whole = _filled_on_gpu(index, known, sample, seed)
    if whole is None:
        whole = index
        _fill(whole, known, sample, seed)
    return whole, "ivf", {"num_lists": num_lists, "num_probes": index.nprobe}


def _filled_on_gpu(index: faiss.Index, known: ItemVectors, sample: Ints, seed: int) -> faiss.Index | None:
    """What the empty index becomes on the GPU, None where that cannot do it; the index itself stays empty."""
    gpu = GPU.copy_of(index)
    if gpu is None:
        return None
    try:
        _fill(gpu, known, sample, seed)
        return faiss.index_gpu_to_cpu(gpu)
    except RuntimeError as error:
        GPU.give_up(error)
        return None


def _fill(index: Any, known: ItemVectors, sample: Ints, seed: int) -> None:
    index.cp.seed = seed
    index.train(known.joined(sample))
    _add(index, known)


def _build_hnsw(known: ItemVectors, config: IndexConfig, seed: int) -> Built:  # noqa: ARG001 (its levels are seeded)
    graph = faiss.IndexHNSWFlat(known.width, config.hnsw_links, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efSearch = config.hnsw_search
    index = faiss.IndexIDMap2(graph)
    with _one_thread():  # several would link the items in whatever order they come to them
        _add(index, known)
    return index, "hnsw", {"links": config.hnsw_links, "search": config.hnsw_search}


def _add(index: faiss.Index, known: ItemVectors) -> None:
    for items, vectors in known.parts():
        index.add_with_ids(vectors, items)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def recall_at(known: ItemVectors, index: ItemIndex, queries: Vectors, k: int = RECALL_AT) -> float:
    """Share of the k best items of queries (Q, D) that the index finds; one that ties with the last of them counts."""
    k = min(k, len(known.items))
    asked = np.column_stack([queries, np.ones(len(queries))]).astype(np.float32)
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for _, vectors in known.parts():
        best = np.partition(np.concatenate([best, asked @ vectors.T], axis=1), -k, axis=1)[:, -k:]
    found = index.search(queries, np.full(len(queries), k))
    hits = found.scores >= best.min(axis=1)[found.rows] - _TIE
    return float(hits.sum() / (k * len(queries)))


def sample_rows(users: Vectors, num: int, seed: int) -> Vectors:
    """`num` random user vectors, or all there are; zero ones, of customers without history, are passed over."""
    order = np.random.default_rng(seed).permutation(np.arange(PAD_IDX + 1, len(users)))
    found, count = [users[:0]], 0
    for first in range(0, len(order), num):
        rows = users[order[first : first + num]]
        found.append(rows[rows.any(axis=1)])
        count += len(found[-1])
        if count >= num:
            break
    if count == 0:
        raise DataError("no customer has a vector to measure the recall of the index with")
    return np.concatenate(found)[:num]
