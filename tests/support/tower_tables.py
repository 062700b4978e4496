"""The published tables that a tower is trained from, of a small random world."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_spark.contracts.retriever_config import TowerConfig
from recsys_spark.manifest import SUFFIX
from tests.support.towers import NUM_ITEMS, NUM_PERIODS, NUM_USERS, batch_of, random_queries, sales_rows
from training.retriever.train import RetrieverJob

HIST_MAX = 7


def publish(path: Path, columns: dict[str, Any], num_files: int = 1) -> str:
    path.mkdir()
    table = pa.table(columns)
    size = -(-table.num_rows // num_files)
    for number in range(num_files):
        pq.write_table(table.slice(number * size, size), path / f"part-{number}.parquet")
    path.with_name(path.name + SUFFIX).write_text(json.dumps({"content": path.name}))
    return str(path)


def publish_examples(path: Path, number: int, seed: int) -> str:
    batch = batch_of(random_queries(number, seed, with_empty=False), hist_max=HIST_MAX)
    return publish(path, {name: pa.array(values.tolist(), type_of(name)) for name, values in vars(batch).items()}, 4)


def type_of(name: str) -> pa.DataType:
    lists = {name: pa.int32() for name in ("history", "positives", "context")}
    lists |= {"history_days": pa.float32(), "is_repeat": pa.bool_()}
    return pa.list_(lists[name]) if name in lists else {"user_idx": pa.int64(), "period": pa.int32()}[name]


def make_job(folder: Path, tower: TowerConfig) -> RetrieverJob:
    """A training on the published tables of a small world; the last item has no event."""
    known = np.arange(1, NUM_ITEMS)
    period, sold, counts, before = sales_rows()
    pairs = [(one, other, 1.0) for one in known for other in known if one != other and one % 2 == other % 2]
    item, neighbour, ppmi = zip(*pairs, strict=True)
    histories = batch_of([replace(query, user=user) for user, query in enumerate(random_queries(5, 8, False), start=1)])
    held = ("user_idx", "history", "history_days", "context")
    return RetrieverJob(
        tower=tower,
        num_users=NUM_USERS,
        num_items=NUM_ITEMS,
        num_periods=NUM_PERIODS,
        hist_max=HIST_MAX,
        train_paths=(publish_examples(folder / "train", 35, seed=1),),
        dev_paths=(publish_examples(folder / "dev", 11, seed=2),),
        items_path=publish(
            folder / "items",
            {
                "item_idx": known,
                "num_events": known,
                "num_targets": known,
                "num_new_targets": known % 3,
                "side_brand": [[1 + int(i) % 3, 0] for i in known],
                "side_price": [[4 + int(i) % 2, 0] for i in known],
            },
        ),
        sales_path=publish(
            folder / "sales",
            {"period": period, "item_idx": sold, "num_events": counts, "num_before": before},
        ),
        users_path=publish(
            folder / "users", {name: pa.array(getattr(histories, name).tolist(), type_of(name)) for name in held}
        ),
        co_purchases_path=publish(folder / "pairs", {"item_idx": item, "neighbour_idx": neighbour, "ppmi": ppmi}),
        out_folder="",
        checkpoint_folder="",
        engine="arrow",
        seed=3,
        precision="float32",
    )
