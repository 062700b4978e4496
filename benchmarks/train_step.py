"""Samples per second of the training loop fed by the reader, by either engine, against the same steps from memory.

The retriever with its default settings (baskets of up to 64 targets, histories of 200 events) on generated examples.
Every contender trains one epoch on the same batches in the same order, in turn; files are in the page cache. It runs
on a GPU where there is one.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.harness import Figure, figure, median_ratio, report
from recsys_spark.contracts.context import CONTEXT_SIZES
from recsys_spark.contracts.retriever_config import RetrieverConfig, TowerConfig
from training.batches import RETRIEVER_COLUMNS, RetrieverBatch
from training.engines import ENGINES
from training.loop import Loop, LoopSettings
from training.optimizers import Optimizers
from training.process_group import Group, process_group
from training.reader import ParquetReader, ReaderOptions
from training.retriever.item_facts import ItemFacts
from training.retriever.model import RetrieverModel, TowerShape, TwoTower
from training.retriever.objective import RetrieverTask
from training.retriever.train import objective_of
from training.retriever.trends import RecentSales
from training.row_groups import MANIFEST_SUFFIX

ROWS, ITEMS, CUSTOMERS = 60_000, 30_000, 20_000
HIST_MAX, TARGETS, PERIODS, SEED = 200, 64, 14, 1
MEAN_TARGETS = 8  # of a basket
MEMORY = "memory"
TOWER = TowerConfig()


def item_indices(rng: np.random.Generator, shape: tuple[int, ...], num_items: int) -> np.ndarray:
    """Popularity falls with the rank."""
    return np.minimum(np.exp(rng.random(shape) * np.log(num_items)), num_items - 1).astype(np.int32) + 1


def examples(rng: np.random.Generator, rows: int, num_items: int) -> pa.Table:
    """TOWER_EXAMPLES of customers with 1 to 200 known events."""
    is_event = np.arange(HIST_MAX) >= HIST_MAX - rng.integers(1, HIST_MAX + 1, (rows, 1))
    is_target = np.arange(TARGETS) < np.clip(rng.geometric(1 / MEAN_TARGETS, (rows, 1)), 1, TARGETS)
    days = np.sort(rng.random((rows, HIST_MAX), dtype=np.float32) * 365)[:, ::-1]
    return pa.table(
        {
            "user_idx": rng.integers(1, CUSTOMERS + 1, rows),
            "history": _lists(item_indices(rng, (rows, HIST_MAX), num_items) * is_event),
            "history_days": _lists(days * is_event),
            "positives": _lists(item_indices(rng, (rows, TARGETS), num_items) * is_target),
            "is_repeat": _lists((rng.random((rows, TARGETS)) < 0.3) & is_target),
            "period": rng.integers(0, PERIODS, rows).astype(np.int32),
            "context": _lists(np.zeros((rows, len(CONTEXT_SIZES)), dtype=np.int32)),
        }
    )


def _lists(values: np.ndarray) -> pa.ListArray:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).ravel()))


def write_examples(folder: Path, rows: int, num_items: int) -> str:
    """A published table with a file for each row group, as the job leaves one."""
    path, rng, per_file = (
        folder / "tower_examples.parquet",
        np.random.default_rng(SEED),
        RetrieverConfig().row_group_rows,
    )
    path.mkdir()
    for number in range(-(-rows // per_file)):
        part = path / f"part-{number:05d}.snappy.parquet"
        pq.write_table(examples(rng, min(per_file, rows - number * per_file), num_items), part, compression="snappy")
    path.with_name(path.name + MANIFEST_SUFFIX).write_text("{}")
    return str(path)


def make_task(num_items: int, group: Group) -> RetrieverTask:
    """The default tower with random vectors to start from."""
    rng = np.random.default_rng(SEED)
    period = np.repeat(np.arange(PERIODS), num_items // 2)
    items = np.concatenate([rng.choice(num_items, num_items // 2, replace=False) + 1 for _ in range(PERIODS)])
    sales = RecentSales.of_rows(period, items, rng.integers(1, 50, len(items)).astype(np.float32), num_items, PERIODS)
    facts = ItemFacts(share=torch.ones(num_items + 1) / num_items, is_known=torch.arange(num_items + 1) > 0)
    torch.manual_seed(SEED)
    shape = TowerShape(CUSTOMERS, num_items, TOWER.dim, TOWER.user_tower, TOWER.pooling, num_blocks=TOWER.num_blocks)
    model = RetrieverModel(TwoTower(shape), TOWER.temperature, TOWER.learn_temperature, TOWER.trend).to(group.device)
    return RetrieverTask(model, objective_of(TOWER), items=facts, sales=sales, group=group, seed=SEED)


@dataclass
class Contender:
    """Where batches come from, and what each measured epoch came to."""

    batches: Callable[[], Iterable[RetrieverBatch]]
    samples_per_second: list[float] = field(default_factory=list)
    share_waiting: list[float] = field(default_factory=list)

    def train(self, task: RetrieverTask, group: Group, is_counted: bool) -> None:
        """One epoch, from wherever the weights are."""
        settings = LoopSettings(max_epochs=1, autocast=group.device.type == "cuda", seed=SEED)
        with tempfile.TemporaryDirectory() as folder:  # for the checkpoint at the end, which is not measured
            optimizers = Optimizers(task.model, TOWER.learning_rate, TOWER.weight_decay)
            epoch = Loop(task, optimizers, lambda *_: self.batches(), settings, group, folder).run().curve[0]
        if is_counted:
            self.samples_per_second.append(epoch["samples_per_second"])
            self.share_waiting.append(epoch["share_waiting"])


def read(path: str, engine: str, group: Group) -> Iterable[RetrieverBatch]:
    """The batches of the first epoch; their order is the same by either engine."""
    options = ReaderOptions(
        engine=engine, batch_size=TOWER.batch_size, columns=RETRIEVER_COLUMNS, seed=SEED, shuffle=True,
        pin_memory=group.device.type == "cuda",
    )  # fmt: skip
    return (RetrieverBatch.of(columns) for columns in ParquetReader(path, options).epoch(0))


def compare(path: str, num_items: int, repetitions: int, group: Group) -> list[Figure]:
    """A figure for each engine."""
    task = make_task(num_items, group)
    held = [
        RetrieverBatch(**{name: rows.clone() for name, rows in vars(one).items()}) for one in read(path, "arrow", group)
    ]
    contenders = {MEMORY: Contender(lambda: held)}
    for engine in ENGINES:
        contenders[engine] = Contender(partial(read, path, engine, group))
    for repetition in range(repetitions + 1):
        for contender in contenders.values():
            contender.train(task, group, is_counted=repetition > 0)
    detail: dict[str, Any] = {"rows": sum(len(one) for one in held), "items": num_items, "repetitions": repetitions}
    detail |= {"batch_size": TOWER.batch_size, "dim": TOWER.dim, "history": HIST_MAX, "targets": TARGETS}
    detail["threads"] = torch.get_num_threads()
    detail["device"] = torch.cuda.get_device_name() if group.device.type == "cuda" else "cpu"
    speeds = {name: contender.samples_per_second for name, contender in contenders.items()}
    detail["samples_per_second"] = {name: round(median(speed)) for name, speed in speeds.items()}
    figures = []
    for engine in ENGINES:
        waiting = round(median(contenders[engine].share_waiting), 4)
        ratio = median_ratio(speeds[engine], speeds[MEMORY])
        name = f"{place_of(group)}.{engine}"
        figures.append(figure(name, ratio, ">= 0.95", share_waiting=waiting, **detail))
    return figures


def place_of(group: Group) -> str:
    """The name of the results, which a GPU has of its own: one machine does not replace what another measured."""
    return "train_step_gpu" if group.device.type == "cuda" else "train_step"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of PyTorch; beside other work its threads wait for one another")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.|pyarrow\.parquet")
    with tempfile.TemporaryDirectory() as folder, process_group() as group:
        path = write_examples(Path(folder), given.rows, given.items)
        report(place_of(group), compare(path, given.items, given.repetitions, group))


if __name__ == "__main__":
    main()
