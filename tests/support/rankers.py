"""Candidates whose labels follow planted signs, as batches and as published tables; all of it from seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsys_spark.contracts.ranker_config import RankerConfig
from recsys_spark.manifest import SUFFIX
from tests.support.wanted import is_missing
from training.ranker.batches import RankerBatch
from training.ranker.job import RankerJob

FEATURES = ("dot_uv", "times_bought", "repeat_sign", "new_sign")
KINDS = ("standard", "log", "standard", "quantile")
CONFIG = RankerConfig(hidden=16, batch_rows=64, max_epochs=2, num_seeds=2, engine="arrow", precision="float32")


def need_lightgbm() -> Any:
    """LightGBM; the test is skipped where it, or the machine's libgomp, is missing, which CI takes for a failure."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        is_missing(f"could not import lightgbm: {error}")
    return lightgbm


@dataclass(frozen=True)
class Candidates:
    """Rows of queries that follow one another."""

    query_id: np.ndarray  # (N,)
    item_idx: np.ndarray
    label: np.ndarray
    is_repeat: np.ndarray
    features: np.ndarray  # (N, len(FEATURES))

    def __len__(self) -> int:
        return len(self.query_id)

    def rows(self, chosen: Any) -> Candidates:
        return Candidates(**{name: values[chosen] for name, values in vars(self).items()})

    def batch(self) -> RankerBatch:
        columns = {name: torch.from_numpy(values) for name, values in vars(self).items() if name != "features"}
        named = zip(FEATURES, torch.from_numpy(self.features).unbind(dim=1), strict=True)
        return RankerBatch.of(columns | dict(named), FEATURES)

    def query(self) -> np.ndarray:
        """The number of each row's query, from 0."""
        return self.batch().query.numpy()


def planted(num_queries: int, seed: int = 0) -> Candidates:
    """Queries of 4 to 9 candidates with one positive each, by turns a repeat and an item new to the customer.

    Of repeats the positive is the one with `repeat_sign` 1, of new items that with `new_sign` 1; the other sign is
    drawn, so it misleads. `dot_uv` says nothing, `times_bought` whether it is a repeat.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 10, num_queries)
    query = np.repeat(np.arange(num_queries), sizes)
    starts = np.cumsum(sizes) - sizes
    is_repeat = rng.random(len(query)) < 0.5
    is_repeat[starts], is_repeat[starts + 1] = True, False  # at least one of both
    label = np.zeros(len(query), np.float32)
    label[starts + np.arange(num_queries) % 2] = 1
    drawn = rng.integers(0, 2, len(query))
    signs = np.stack([np.where(is_repeat, label, drawn), np.where(is_repeat, drawn, label)], axis=1)
    own = np.stack([rng.normal(size=len(query)), np.where(is_repeat, rng.integers(1, 30, len(query)), 0)], axis=1)
    features = np.concatenate([own, signs + rng.normal(scale=0.05, size=signs.shape)], axis=1).astype(np.float32)
    items = np.concatenate([rng.permutation(50)[:size] + 1 for size in sizes])
    made = Candidates(query * 10 + 7, items, label, is_repeat, features)
    return made.rows(np.lexsort((rng.random(len(query)), query)))  # the positive at any place


def publish_candidates(path: Path, rows: Candidates, num_groups: int = 4, without: Sequence[str] = ()) -> str:
    """A table with about as many queries in each row group; without: columns left out."""
    columns = {name: values for name, values in vars(rows).items() if name != "features"}
    columns |= dict(zip(FEATURES, rows.features.T, strict=True))
    table = pa.table({name: values for name, values in columns.items() if name not in without})
    groups = rows.query() * num_groups // (rows.query().max() + 1)
    path.mkdir(parents=True)
    with pq.ParquetWriter(path / "part-0.parquet", table.schema) as writer:
        for group in range(num_groups):
            writer.write_table(table.filter(pa.array(groups == group)))
    path.with_name(path.name + SUFFIX).write_text(json.dumps({"content": path.name}))
    return str(path)


def ranker_job(folder: Path, train: str, dev: str | None, config: RankerConfig = CONFIG, **changes: Any) -> RankerJob:
    """A job that leaves its files under the folder."""
    given: dict[str, Any] = {
        "features": FEATURES,
        "kinds": KINDS,
        "train_paths": (train,),
        "dev_paths": (dev,) if dev else (),
        "out_folder": str(folder / "out"),
        "checkpoint_folder": str(folder / "checkpoints"),
        "seed": 3,
        "config": config,
    }
    return RankerJob(**{**given, **changes})
