"""Cosines between candidates and what the customer bought, in torch on the GPU where a process has one.

Names: Q queries, C candidates, M the most candidates of a query, R recent items, D embedding size.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow  # noqa: F401  before torch
import torch
from scipy import sparse

from recsys_spark.arrays import Ints
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.candidates.last_basket import last_order_start
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.contracts.columns import PAD_IDX
from recsys_spark.sequences.windows import window_values
from recsys_spark.task_gpu import gpu_of_task

Vectors = npt.NDArray[np.float32]
_BYTES_AT_A_TIME = 64 << 20  # of candidates' vectors


def similarity_features(
    batch: QueryBatch, candidates: CandidateRows, vectors: Vectors, hist_max: int, recent: int, similar: int
) -> dict[str, npt.NDArray[np.float64]]:
    """dot_uv, max_sim_recent, sim_mean, sim_max, sim_last_basket, (C,) each; 0 without a history.

    The largest are taken over the items that the fit knows.

    vectors: of unit length by item_idx, (num_items + 1, D), zero for padding and unknown items.
    """
    device = _device()
    mean = _means(batch, np.maximum(batch.start, batch.end - hist_max), vectors)
    last = _means(batch, last_order_start(batch), vectors)
    norm = np.linalg.norm(mean, axis=1)
    window, _, _ = window_values(batch.events, batch.start, batch.end, batch.micros, max(recent, similar))
    window = _known(window, len(vectors))
    bounds = np.searchsorted(candidates.rows, np.arange(len(batch) + 1))
    widest = max(int(np.diff(bounds).max(initial=0)), 1)
    step = max(_BYTES_AT_A_TIME // (widest * vectors.shape[1] * 4), 1)
    found = np.zeros((len(candidates.rows), 4), dtype=np.float32)
    for first in range(0, len(batch), step):
        part = slice(first, min(first + step, len(batch)))
        of_part = slice(bounds[part.start], bounds[part.stop])
        rows = candidates.rows[of_part] - part.start
        places = np.arange(of_part.start, of_part.stop) - bounds[candidates.rows[of_part]]
        padded = np.full((part.stop - part.start, widest), PAD_IDX, dtype=np.int64)
        padded[rows, places] = _known(candidates.items[of_part], len(vectors))
        item_QMD = torch.from_numpy(vectors[padded]).to(device)
        centres_Q2D = torch.from_numpy(np.stack([mean[part], last[part]], axis=1)).to(device)
        sums_QM2 = torch.bmm(item_QMD, centres_Q2D.transpose(1, 2))
        largest_QM2 = _largest(item_QMD, window[part], vectors, (recent, similar))
        told = torch.cat([sums_QM2, largest_QM2], dim=2).cpu().numpy()
        found[of_part] = told[rows, places]
    sim_mean, sim_last, max_recent, sim_max = found.T.astype(np.float64)
    return {
        "dot_uv": sim_mean / np.maximum(norm, 1e-12)[candidates.rows],
        "max_sim_recent": max_recent,
        "sim_mean": sim_mean,
        "sim_max": sim_max,
        "sim_last_basket": sim_last,
    }


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", gpu_of_task(torch.cuda.device_count()))


def _largest(item_QMD: torch.Tensor, window: Ints, vectors: Vectors, newest: tuple[int, int]) -> torch.Tensor:
    """Largest cosine of each candidate to the newest so many items of the window (Q, R), (Q, M, 2); 0 without any."""
    recent_QRD = torch.from_numpy(vectors[window]).to(item_QMD.device)
    cosine_QMR = torch.bmm(item_QMD, recent_QRD.transpose(1, 2))
    is_item = torch.from_numpy(window != PAD_IDX).to(item_QMD.device)[:, None, :]
    cosine_QMR = cosine_QMR.masked_fill(~is_item, -torch.inf)
    best = [cosine_QMR[:, :, -length:].amax(dim=2) for length in newest]
    largest = torch.stack(best, dim=2)
    return torch.where(torch.isfinite(largest), largest, 0.0)


def _means(batch: QueryBatch, start: Ints, vectors: Vectors) -> Vectors:
    """Mean vectors of the events [start, end) of each query, (Q, D); zero where there are none."""
    sizes = batch.end - start
    first_of_row = np.cumsum(sizes) - sizes
    positions = np.arange(sizes.sum()) - np.repeat(first_of_row - start, sizes)
    items = _known(batch.events.items[positions], len(vectors))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    ones = np.ones(len(items), dtype=np.float32)
    sums = sparse.csr_matrix((ones, items, bounds), shape=(len(batch), len(vectors))) @ vectors
    return np.asarray(sums / np.maximum(sizes, 1)[:, None], dtype=np.float32)


def _known(items: Ints, num_rows: int) -> Ints:
    return np.where(items < num_rows, items, PAD_IDX)
