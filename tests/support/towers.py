"""Small towers with what they are trained on, all of it from seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # before torch
import pyarrow.parquet as pq
import torch
from torch import Tensor

from recsys_spark.contracts.context import CONTEXT_SIZES
from training.batches import RetrieverBatch
from training.loop import Loop, LoopSettings, Trained
from training.optimizers import Optimizers
from training.process_group import Group
from training.retriever.item_facts import ItemFacts
from training.retriever.model import RetrieverModel, TowerShape, TwoTower
from training.retriever.objective import ObjectiveOptions, RetrieverTask
from training.retriever.trends import RecentSales

NUM_USERS, NUM_ITEMS, NUM_PERIODS = 9, 17, 3
SHAPE = TowerShape(num_users=NUM_USERS, num_items=NUM_ITEMS, dim=6, num_blocks=0, dropout=0.0, hist_max=7)


@dataclass(frozen=True)
class Query:
    """history: (item, days before the query), oldest first. repeats: those of the positives bought before."""

    user: int
    history: tuple[tuple[int, float], ...]
    positives: tuple[int, ...]
    repeats: tuple[int, ...] = ()
    period: int = 0
    context: tuple[int, ...] = (0,) * len(CONTEXT_SIZES)


def batch_of(queries: Sequence[Query], hist_max: int = 7, num_targets: int = 4) -> RetrieverBatch:
    """As the reader gives it: histories padded on the left, positives on the right."""

    def right(values: Iterable[Any]) -> list[Any]:
        found = list(values)
        return found + [0] * (num_targets - len(found))

    def left(values: Iterable[float]) -> list[float]:
        found = list(values)
        return [0] * (hist_max - len(found)) + found

    return RetrieverBatch(
        user_idx=torch.tensor([query.user for query in queries]),
        history=torch.tensor([left(item for item, _ in query.history) for query in queries], dtype=torch.int32),
        history_days=torch.tensor([left(days for _, days in query.history) for query in queries], dtype=torch.float32),
        positives=torch.tensor([right(query.positives) for query in queries], dtype=torch.int32),
        is_repeat=torch.tensor(
            [right(item in query.repeats for item in query.positives) for query in queries], dtype=torch.bool
        ),
        period=torch.tensor([query.period for query in queries], dtype=torch.int32),
        context=torch.tensor([query.context for query in queries], dtype=torch.int32),
    )


def random_queries(number_of_queries: int, seed: int = 0, with_empty: bool = True) -> list[Query]:
    """Queries with 0 to 7 events of history and 1 to 4 targets, some of them repeats."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(number_of_queries):
        length = int(rng.integers(0 if with_empty else 1, 8))
        days = sorted((float(day) for day in rng.uniform(1, 200, length)), reverse=True)
        history = tuple(zip((int(item) for item in rng.integers(1, NUM_ITEMS + 1, length)), days, strict=True))
        positives = tuple(int(item) for item in rng.choice(NUM_ITEMS, int(rng.integers(1, 5)), replace=False) + 1)
        bought = {item for item, _ in history}
        repeats = tuple(item for item in positives if item in bought)
        user, period = int(rng.integers(1, NUM_USERS + 1)), int(rng.integers(0, NUM_PERIODS))
        context = tuple(number % (size + 1) for size in CONTEXT_SIZES.values())
        found.append(Query(user, history, positives, repeats, period, context))
    return found


def rows_of(batch: RetrieverBatch, first: int, last: int) -> RetrieverBatch:
    """Some of a batch's queries, as views."""
    return RetrieverBatch(**{name: values[first:last] for name, values in vars(batch).items()})


def make_model(
    shape: TowerShape = SHAPE, temperature: float = 0.15, trend: bool = False, seed: int = 3
) -> RetrieverModel:
    torch.manual_seed(seed)
    return RetrieverModel(TwoTower(shape), temperature, learn_temperature=False, trend=trend)


def random_sales() -> RecentSales:
    period, items, counts, before = sales_rows()
    return RecentSales.of_rows(period, items, counts, NUM_ITEMS, NUM_PERIODS, before)


def sales_rows(seed: int = 5) -> tuple[Any, Any, Any, Any]:
    """Period, item, count and the count before of what was sold."""
    rng = np.random.default_rng(seed)
    rows = [(period, item) for period in range(NUM_PERIODS) for item in range(1, NUM_ITEMS + 1) if rng.random() < 0.6]
    period, items = (np.array(values, dtype=np.int64) for values in zip(*rows, strict=True))
    counts = rng.integers(1, 30, len(rows)).astype(np.float32)
    before = rng.integers(0, 30, len(rows)).astype(np.float32)
    return period, items, counts, before


def random_share(seed: int = 6) -> Tensor:
    """Of each item among the targets; index 0 has none."""
    weights = np.random.default_rng(seed).gamma(0.7, size=NUM_ITEMS + 1)
    weights[0] = 0
    return torch.from_numpy(weights / weights.sum()).float()


def make_task(
    model: RetrieverModel,
    options: ObjectiveOptions,
    sales: RecentSales | None = None,
    group: Group | None = None,
    dev: Callable[[], Iterable[RetrieverBatch]] | None = None,
    unknown: Sequence[int] = (),
    share: Tensor | None = None,
    facts: dict[str, Tensor] | None = None,
    **more: Any,
) -> RetrieverTask:
    """unknown: items without an event up to the cutoff. facts: of ItemFacts."""
    is_known = torch.ones(model.towers.shape.num_items + 1, dtype=torch.bool)
    is_known[[0, *unknown]] = False
    items = ItemFacts(random_share() if share is None else share, is_known, **(facts or {}))
    given = {"group": group or Group(), "seed": 11, "dev": dev, **more}
    return RetrieverTask(model, options, items=items, sales=sales, **given)


_OPTIONS = ObjectiveOptions(num_negatives=8)
_WITH_DROPOUT = replace(SHAPE, num_blocks=1, dropout=0.3, user_tower="both")
_SETTINGS = LoopSettings(max_epochs=3, metric="recall@3", patience=9, clip_norm=0.5)


@dataclass(frozen=True)
class SmallRun:
    """A training of a small tower on random batches, the same whenever and wherever it is started."""

    options: ObjectiveOptions = _OPTIONS
    shape: TowerShape = _WITH_DROPOUT
    settings: LoopSettings = _SETTINGS
    steps: int = 4  # of an epoch
    batch_size: int = 8  # over all ranks
    learning_rate: float = 0.1
    trend: bool = True
    with_dev: bool = True

    def batches(self, epoch: int, skip: int, group: Group) -> Iterator[RetrieverBatch]:
        """This rank's rows of each batch of an epoch."""
        for step in range(skip, self.steps):
            whole = batch_of(random_queries(self.batch_size, seed=1000 * epoch + step))
            size = self.batch_size // group.world_size
            yield rows_of(whole, group.rank * size, (group.rank + 1) * size)

    def start(self, folder: str | Path, group: Group | None = None, **overrides: Any) -> tuple[Trained, RetrieverModel]:
        """Train to the end, from the checkpoint in the folder if there is one. overrides: arguments of the Loop."""
        group = group or Group()
        model = make_model(self.shape, trend=self.trend).to(group.device)
        dev = batch_of(random_queries(12, seed=77))
        size = len(dev) // group.world_size
        task = make_task(
            model,
            self.options,
            random_sales() if self.trend else None,
            group,
            dev=(lambda: [rows_of(dev, group.rank * size, (group.rank + 1) * size)]) if self.with_dev else None,
            k=(1, 3),
        )
        arguments: dict[str, Any] = {
            "batches": lambda epoch, skip: self.batches(epoch, skip, group),
            "settings": self.settings,
            "group": group,
            "folder": folder,
            **overrides,
        }
        loop = Loop(task, Optimizers(model, self.learning_rate, weight_decay=0.01), **arguments)
        return loop.run(), model


def weights_of(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def largest_gap(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Of two states with the same names."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def write_histories(path: Path, queries: Sequence[Query]) -> None:
    """USER_HISTORIES of the queries' customers."""
    batch = batch_of(queries)
    table = pa.table(
        {
            "user_idx": batch.user_idx.numpy(),
            "history": pa.array(batch.history.tolist(), pa.list_(pa.int32())),
            "history_days": pa.array(batch.history_days.tolist(), pa.list_(pa.float32())),
            "context": pa.array(batch.context.tolist(), pa.list_(pa.int32())),
        }
    )
    pq.write_table(table, path)
