"""Item vectors to start from: the SVD of the PPMI of co-purchases."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from training.files import read_table

_POWER_ITERATIONS = 3
_NOISE = 1e-6  # share of the largest singular value below which an item's vector is rounding


def ppmi_vectors(path: str, num_items: int, dim: int, seed: int) -> Tensor:
    """Unit vectors U sqrt(S) of a CO_PURCHASES table, (num_items + 1, dim).

    Random ones for items without a pair, and for those of which the leading `dim` dimensions hold nothing.
    The matrix is made symmetric by the larger of the two entries, since each row holds the nearest items only.
    (Levy and Goldberg, NeurIPS 2014; Halko et al., SIAM Review 2011 for the randomised SVD.)
    """
    table = read_table(path, ["item_idx", "neighbour_idx", "ppmi"])
    row, col = (table.column(name).to_numpy() for name in ("item_idx", "neighbour_idx"))
    size = num_items + 1
    one_way = sparse.csr_matrix((table.column("ppmi").to_numpy().astype(np.float32), (row, col)), shape=(size, size))
    both = one_way.maximum(one_way.T).tocsr()
    present = np.flatnonzero(np.diff(both.indptr))
    vectors = np.random.default_rng(seed).standard_normal((size, dim), dtype=np.float32)
    if len(present):
        rank = min(dim, len(present))
        left, values, _ = randomized_svd(
            both[present][:, present], rank, n_iter=_POWER_ITERATIONS, random_state=seed, flip_sign=True
        )
        found = left * np.sqrt(values)
        is_held = np.linalg.norm(found, axis=1) > _NOISE * np.sqrt(values[0])
        vectors[present[is_held]] = 0
        vectors[present[is_held, None], np.arange(rank)] = found[is_held]
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    vectors[0] = 0
    return torch.from_numpy(vectors)
