"""Applies a user tower without PyTorch: from the events before a query, and who asks, to the query's vector.

The forward pass is that of `training/retriever/model.py` in evaluation mode. Names: Q queries, D embedding size.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recsys_spark.arrays import Floats, Ints
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.query_context import query_context
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.columns import PAD_IDX
from recsys_spark.contracts.context import CONTEXT_SIZES
from recsys_spark.sequences.windows import MICROS_PER_DAY

Vectors = npt.NDArray[np.float32]

_NORM_EPS, _UNIT_EPS = 1e-5, 1e-12  # PyTorch's defaults
_TOWERS_KEPT = 4  # of one Python process


@dataclass(frozen=True)
class UserTower:
    """A user tower as `training/retriever/export.py` leaves it.

    table: what a history looks its items up in, (num_items + 1, D); zero for items that the fit has not seen.
    user_table: (num_users + 1, D) or None. affinity: how much attention an item draws, (num_items + 1,) or None; slope:
    how fast attention fades. blocks: arrays of the residual blocks. norm: of the last LayerNorm or None. context: by
    feature of contracts/context.py the vectors of its values, row 0 zero.
    """

    user_tower: str
    pooling: str
    decay_days: float
    hist_max: int
    table: Vectors
    user_table: Vectors | None = None
    affinity: Vectors | None = None
    slope: float = 0.0
    blocks: tuple[Mapping[str, Vectors], ...] = ()
    norm: Mapping[str, Vectors] | None = None
    context: Mapping[str, Vectors] = field(default_factory=dict)

    def vectors(self, batch: QueryBatch) -> Floats:
        """Unit vectors of queries, (Q, D); zero where neither an item of the history nor the customer is known."""
        x = np.zeros((len(batch), self.table.shape[1]))
        if self.user_tower != "id":
            x += self._pool(newest(batch, self.hist_max))
        if self.user_table is not None:
            known = batch.users < len(self.user_table)
            x += self.user_table[np.where(known, batch.users, PAD_IDX)]
        is_known = x.any(axis=1)
        if self.context:
            values = query_context(batch)
            for feature, table in self.context.items():
                x += table[values[:, tuple(CONTEXT_SIZES).index(feature)]]
        for block in self.blocks:
            linear = x @ block["linear.weight"].T.astype(np.float64) + block["linear.bias"]
            x = x + np.maximum(_layer_norm(linear, block["norm.weight"], block["norm.bias"]), 0)
        if self.norm is not None:
            x = _layer_norm(x, self.norm["weight"], self.norm["bias"])
        return np.where(is_known[:, None], _unit(x), 0.0)

    def _pool(self, batch: QueryBatch) -> Floats:
        rows, positions = batch.earlier()
        if self.pooling == "mean":
            return pooled(batch, self.table, np.ones(len(rows)))
        # Only ratios count; by the days before the query, the weights of a dormant customer would vanish.
        micros = batch.events.micros
        ages = (micros[batch.end[rows] - 1] - micros[positions]) / (MICROS_PER_DAY * self.decay_days)
        if self.affinity is None:
            return pooled(batch, self.table, np.exp(-ages))
        items = _known_or_padding(batch.events.items[positions], len(self.affinity))
        return pooled(batch, self.table, np.exp(4 * np.tanh(self.affinity[items]) - ages * self.slope))


def newest(batch: QueryBatch, length: int) -> QueryBatch:
    """The queries with the newest `length` of their earlier events."""
    return replace(batch, start=np.maximum(batch.start, batch.end - length))


def pooled(batch: QueryBatch, table: Vectors, weights: Floats) -> Floats:
    """Weighted sums of the vectors of each query's earlier events, at unit length, (Q, D); zero where there is none.

    weights: one for each pair of `batch.earlier`.
    """
    items = _known_or_padding(batch.events.items[batch.earlier()[1]], len(table))
    starts = np.concatenate([[0], np.cumsum(batch.num_earlier)])
    # In the precision of the table, which would otherwise be copied whole into another.
    matrix = sparse.csr_matrix((weights.astype(table.dtype), items, starts), shape=(len(batch), len(table)))
    return _unit((matrix @ table).astype(np.float64))


@functools.lru_cache(maxsize=_TOWERS_KEPT)
def load_tower(tower: FittedFile, item_embeddings: FittedFile) -> UserTower:
    """A user tower, once per Python process. Raises ArtifactError for a file that is no tower."""
    try:
        return _read_tower(tower, item_embeddings.array())
    except (ValueError, KeyError, OSError, BadZipFile) as error:
        raise tower.unusable(error) from error


def _read_tower(tower: FittedFile, items: Vectors) -> UserTower:
    with np.load(tower.local(), allow_pickle=False) as told:
        table = items
        if "history_emb" in told:
            table = told["history_emb"] * items.any(axis=1)[:, None]  # what was never trained is noise
        attention = told.get("attention")
        num_blocks = sum(name.endswith("linear.weight") for name in told)
        return UserTower(
            user_tower=str(told["user_tower"]),
            pooling=str(told["pooling"]),
            decay_days=float(told["decay_days"]),
            hist_max=int(told["hist_max"]),
            table=table,
            user_table=told.get("user_emb"),
            affinity=None if attention is None else table @ attention[:-1],
            slope=0.0 if attention is None else float(np.logaddexp(0, attention[-1])),
            blocks=tuple(_arrays(told, f"block{block}.") for block in range(num_blocks)),
            norm=_arrays(told, "norm.") if num_blocks else None,
            context=_arrays(told, "context."),
        )


def _arrays(told: Mapping[str, Vectors], prefix: str) -> dict[str, Vectors]:
    return {name.removeprefix(prefix): told[name] for name in told if name.startswith(prefix)}


def _known_or_padding(items: Ints, num_rows: int) -> Ints:
    return np.where(items < num_rows, items, PAD_IDX)


def _layer_norm(x: Floats, weight: Vectors, bias: Vectors) -> Floats:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + _NORM_EPS) * weight + bias


def _unit(x: Floats) -> Floats:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), _UNIT_EPS)
