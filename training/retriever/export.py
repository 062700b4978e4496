"""What training leaves for Spark: vectors as memory-mapped arrays, and the user tower as named arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from recsys_spark.contracts.columns import PAD_IDX
from training.files import dataset, folder_on_disk
from training.retriever.model import Head, PooledHistory, RetrieverModel
from training.retriever.objective import RetrieverTask

_ROWS = 8192


@torch.no_grad()
def export_towers(model: RetrieverModel, task: RetrieverTask, users_path: str, out_folder: str | Path) -> None:
    """Write item_embeddings.npy, item_offsets.npy, user_embeddings.npy and user_tower.npz.

    Row = index; rows have unit length, but those of padding and of what the fit has not seen are zero. Scores are
    user vector . item vector + offset of the item; offsets and vectors hold the trends as of the cutoff.
    users_path: USER_HISTORIES; out_folder: on any file system.
    """
    model.eval()
    if model.towers.user_emb is not None and task.has_examples is not None:
        model.towers.user_emb.weight[~task.has_examples] = 0  # they still hold what they were started with
    served = task.catalogue.served()
    told = user_tower(model)
    if not served.are_one and model.towers.history_emb is None:
        told["history_emb"] = _array(served.looked_up)
    with folder_on_disk(out_folder) as folder:
        _write_rows(folder / "item_embeddings.npy", served.ranked)
        np.save(folder / "item_offsets.npy", _offsets(task).numpy())
        _write_users(model, served.looked_up, users_path, folder / "user_embeddings.npy")
        np.savez(folder / "user_tower.npz", **told)


def user_tower(model: RetrieverModel) -> dict[str, Any]:
    """What maps a history or an index to a user vector, for `recsys_spark/candidates/towers.py`."""
    towers, shape = model.towers, model.towers.shape
    told: dict[str, Any] = {
        "user_tower": shape.user_tower,
        "pooling": shape.pooling,
        "decay_days": shape.decay_days,
        "hist_max": shape.hist_max,
    }
    for feature in shape.context:
        assert towers.context is not None
        told[f"context.{feature}"] = _array(towers.context.of(feature))
    if towers.attention is not None:
        told["attention"] = _array(towers.attention)
    if towers.history_emb is not None:
        told["history_emb"] = _array(towers.history_emb.weight)
    if towers.user_emb is not None:
        told["user_emb"] = _array(towers.user_emb.weight)
    return told | _head(towers.user_head)


def _head(head: Head) -> dict[str, Any]:
    names = {"0": "linear", "1": "norm"}  # places in the body of a ResidualBlock
    told = {}
    for name, value in head.state_dict().items():
        parts = name.split(".")
        label = f"block{parts[1]}.{names[parts[3]]}.{parts[4]}" if parts[0] == "blocks" else name
        told[label] = _array(value)
    return told


def _offsets(task: RetrieverTask) -> Tensor:
    model, sales = task.model, task.catalogue.sales
    if model.trend_weight is None or sales is None:
        return torch.zeros(task.catalogue.num_items + 1)
    return (model.log_temperature.exp() * model.trend_weight * sales.latest()).cpu()


def _write_users(model: RetrieverModel, vectors: Tensor, users_path: str, path: Path) -> None:
    shape = model.towers.shape
    out = open_memmap(path, mode="w+", dtype=np.float32, shape=(shape.num_users + 1, shape.dim))
    for batch in dataset(users_path).to_batches(batch_size=_ROWS):
        if batch.num_rows == 0:
            continue
        users = torch.tensor(batch.column("user_idx").to_numpy(), device=vectors.device)
        history, days, context = (
            torch.tensor(batch.column(name).flatten().to_numpy(), device=vectors.device).view(batch.num_rows, -1)
            for name in ("history", "history_days", "context")
        )
        newest = slice(-shape.hist_max, None)  # a tower beside it may hold more
        pooled = PooledHistory.of(history[:, newest].long(), days[:, newest])
        found = model.towers.users(users, pooled, vectors, context.long())
        table = model.towers.user_emb
        if shape.user_tower == "id" and table is not None:  # blocks make a vector of nothing too
            found[~table.weight[users].any(dim=1)] = 0
        out[users.cpu().numpy()] = found.float().cpu().numpy()
    out[PAD_IDX] = 0
    out.flush()


def _write_rows(path: Path, vectors: Tensor) -> None:
    out = open_memmap(path, mode="w+", dtype=np.float32, shape=tuple(vectors.shape))
    for first in range(0, len(vectors), _ROWS):
        out[first : first + _ROWS] = vectors[first : first + _ROWS].float().cpu().numpy()
    out.flush()


def _array(value: Tensor) -> Any:
    return value.detach().float().cpu().numpy()
