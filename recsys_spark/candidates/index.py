"""FAISS index over the item vectors of a tower: what describes it, loading, search; inner product everywhere.

Names: Q queries, D embedding size. The offset of an item is dimension D + 1 of its vector, so one inner product with
(query, 1) is the score, and one with (query, 0) is the cosine.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from recsys_spark.arrays import Ints
from recsys_spark.baselines.ranking import Scored
from recsys_spark.candidates.gpu_index import GPU, GPU_LIMIT
from recsys_spark.candidates.tower_files import TowerFiles
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.file_facts import sha256_of

METRIC = "inner_product"
# Queries from which a flat index multiplies matrices. FAISS 1.15 goes pair by pair up to 128,000 of them, which takes
# three times as long on a core with AVX2.
_MULTIPLIED_FROM = 20
_AGAIN = "run stage 'train_retriever' again with --force"
_INDICES_KEPT = 4  # of one Python process


@dataclass(frozen=True, kw_only=True)
class IndexCard:
    """What index.json says: what the index was built from, and how well it finds.

    dim: D. settings: what it was built and is searched with. id_map: content of the ITEM_ID_MAP. item_embeddings,
    item_offsets, index: SHA-256 of the files. faiss: the version that wrote it.
    """

    kind: str
    settings: dict[str, int]
    metric: str
    dim: int
    num_items: int
    id_map: str
    item_embeddings: str
    item_offsets: str
    index: str
    recall_at_100: float
    recall_queries: int
    faiss: str

    @classmethod
    def read(cls, files: TowerFiles) -> IndexCard:
        """Raises ArtifactError for a file that is no card."""
        try:
            values: dict[str, Any] = json.loads(Path(files.index_card.local()).read_text(encoding="utf-8"))
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{files.index_card.path} is no description of an index; {_AGAIN}") from error


class ItemIndex:
    """An index as queries are put to it; on the GPU where there is one and it can take the search."""

    def __init__(self, index: faiss.Index, kind: str) -> None:
        self._cpu = index
        self._gpu = None if kind == "hnsw" else GPU.copy_of(index)

    def search(self, queries: np.ndarray, wanted: Ints, with_offsets: bool = True) -> Scored:
        """The best `wanted[q]` items of each query (Q, D), best first, or as many of them as the index finds."""
        asked = np.column_stack([queries, np.full(len(queries), float(with_offsets))]).astype(np.float32)
        # In groups of similar depth: a customer who bought thousands of items does not make every search as deep.
        depths = np.minimum(2 ** np.ceil(np.log2(np.maximum(wanted, 1))).astype(np.int64), self._cpu.ntotal)
        parts = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
        for depth in np.unique(depths).tolist():
            rows = np.flatnonzero(depths == depth)
            scores, items = self._best(np.ascontiguousarray(asked[rows]), depth)
            found = (items >= 0) & (np.arange(depth) < wanted[rows, None])  # -1 where fewer were found
            parts.append((rows[np.nonzero(found)[0]], items[found], scores[found].astype(np.float64)))
        return Scored(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _best(self, asked: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and items of each query, (Q, depth) each."""
        if self._gpu is not None and depth <= GPU_LIMIT:
            try:
                return self._gpu.search(asked, depth)
            except RuntimeError as error:
                GPU.give_up(error)
                self._gpu = None
        return self._cpu.search(asked, depth)


@functools.lru_cache(maxsize=_INDICES_KEPT)
def load_index(files: TowerFiles) -> ItemIndex:
    """The index of a tower, loaded once per Python process and searched by one thread, as tasks share the cores.

    Raises ArtifactError where it is damaged or was built from another model or id map.
    """
    card, path = IndexCard.read(files), files.index.local()
    there: dict[str, Any] = {
        "metric": METRIC,
        "id_map": files.id_map,
        "item_embeddings": files.item_embeddings.content,
        "item_offsets": files.item_offsets.content,
        "index": sha256_of(path),
    }
    _refuse(files, card, there)
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = _MULTIPLIED_FROM
    try:
        # Mapped where this version can: the processes of a machine then share the pages.
        index = faiss.read_index(path, getattr(faiss, "IO_FLAG_MMAP_IFC", 0))
    except RuntimeError as error:
        raise ArtifactError(
            f"{files.index.path} was written by faiss {card.faiss}, and faiss {faiss.__version__} cannot read it"
        ) from error
    _refuse(files, card, {"dim": index.d - 1, "num_items": index.ntotal})
    return ItemIndex(index, card.kind)


def _refuse(files: TowerFiles, card: IndexCard, there: dict[str, Any]) -> None:
    """Raise ArtifactError where the card says other than what there is."""
    told = {name: getattr(card, name) for name in there}
    wrong = [f"{name} is {there[name]}, the card says {told[name]}" for name in there if there[name] != told[name]]
    if wrong:
        raise ArtifactError(
            f"{files.index.path} is not what {files.index_card.path} describes: {'; '.join(wrong)}; {_AGAIN}"
        )
