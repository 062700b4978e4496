"""Assembly of a tower's training: data, model, loss, optimizers, loop; and what it leaves."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import Tensor

from recsys_spark.contracts.retriever_config import TowerConfig
from training import jobs
from training.batches import RETRIEVER_COLUMNS, RetrieverBatch
from training.files import dataset, read_table
from training.loop import Loop, LoopSettings
from training.optimizers import Optimizers
from training.process_group import Group, process_group
from training.reader import ParquetReader, ReaderOptions
from training.retriever.export import export_towers
from training.retriever.initial_vectors import ppmi_vectors
from training.retriever.item_facts import ItemFacts
from training.retriever.model import RetrieverModel, TowerShape, TwoTower
from training.retriever.objective import ObjectiveOptions, RetrieverTask
from training.retriever.trends import RecentSales
from training.row_groups import Layout
from training.tracking import tracker

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class RetrieverJob:
    """Everything one training needs, as plain values that travel to other processes.

    The paths are those of the tables of the same names (contracts/retriever_schemas.py); dev_paths are none where
    the number of epochs is known. num_epochs and learning_rates: of the fit with a dev slice, 0 and empty for that fit.
    tracking_folder: under which TensorBoard's files stay.
    """

    tower: TowerConfig
    num_users: int
    num_items: int
    num_periods: int
    hist_max: int
    train_paths: tuple[str, ...]
    dev_paths: tuple[str, ...]
    items_path: str
    sales_path: str
    users_path: str
    co_purchases_path: str | None
    out_folder: str
    checkpoint_folder: str
    engine: str
    seed: int
    precision: str = "auto"
    compile: bool = False
    clip_norm: float = 1.0
    checkpoint_seconds: float = 300.0
    num_epochs: int = 0
    learning_rates: tuple[float, ...] = ()
    tracking: str = "none"
    tracking_folder: str = "."

    def to_json(self) -> str:
        """The job as a text that `python -m training.retriever` takes."""
        return jobs.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> RetrieverJob:
        """The job that `to_json` wrote."""
        told = jobs.fields_of(text)
        return cls(**{**told, "tower": TowerConfig(**told["tower"])})

    def fingerprint(self, world_size: int, layout: Layout) -> str:
        """Changes with whatever a checkpoint may not be gone on with. layout: of the training rows."""
        told = {name: value for name, value in asdict(self).items() if name not in _OF_NO_CONSEQUENCE}
        paths = (*self.train_paths, *self.dev_paths, self.items_path, self.sales_path, self.co_purchases_path)
        return jobs.fingerprint(told, paths, world_size, layout)


# For the weights, that is.
_OF_NO_CONSEQUENCE = (
    "users_path", "out_folder", "checkpoint_folder", "engine", "checkpoint_seconds", "tracking", "tracking_folder",
)  # fmt: skip


def train_retriever(job: RetrieverJob) -> dict[str, Any]:
    """Train one tower on this process's share of the examples; the first process writes the files of `export_towers`.

    Returns the curve, the best epoch and timings. Deterministic on CPU for a seed, however often it was interrupted.
    """
    with process_group() as group:
        items = ItemFacts.load(job.items_path, job.num_items, job.tower, job.co_purchases_path)
        knows_sales = job.tower.trend or job.tower.trend_input
        sales = load_sales(job.sales_path, job.num_items, job.num_periods) if knows_sales else None
        model = build_model(job, items).to(group.device)
        group.share_weights(model)  # an SVD is the same to the last bit on the same kind of machine only
        task = RetrieverTask(
            model,
            objective_of(job.tower),
            items=items,
            sales=sales,
            group=group,
            seed=job.seed,
            dev=_dev(job, group),
            has_examples=None if model.towers.user_emb is None else _customers_of(job.train_paths, job.num_users),
        )
        optimizers = Optimizers(model, job.tower.learning_rate, job.tower.weight_decay)
        reader = ParquetReader(job.train_paths, _reader_options(job, group, shuffle=True))

        def batches(epoch: int, skip: int) -> Iterator[RetrieverBatch]:
            return (RetrieverBatch.of(columns) for columns in reader.epoch(epoch, skip))

        if job.compile:  # the heads: the rest of a step has shapes that follow from the data
            model.towers.item_head.compile(dynamic=True)
            model.towers.user_head.compile(dynamic=True)
        tracking, name = job.tracking if group.is_first else "none", Path(job.out_folder).name
        with tracker(tracking, job.tracking_folder, name, asdict(job.tower)) as report:
            settings = _loop_settings(job, group, reader.layout)
            loop = Loop(task, optimizers, batches, settings, group, job.checkpoint_folder, report)
            trained = loop.run()
        if group.is_first:
            export_towers(model, task, job.users_path, job.out_folder)
        group.wait()
    return jobs.summary(trained, reader)


def objective_of(tower: TowerConfig) -> ObjectiveOptions:
    """The options of the loss that a tower's settings state."""
    return ObjectiveOptions(
        form=tower.loss,
        num_negatives=tower.num_negatives,
        temperature=tower.temperature,
        learn_temperature=tower.learn_temperature,
        targets=tower.targets,
        basket_exponent=tower.basket_exponent,
        log_q=tower.log_q,
        dev_protocol=tower.dev_protocol,
    )


def build_model(job: RetrieverJob, items: ItemFacts) -> RetrieverModel:
    """The model at its start, the same on every process."""
    tower = job.tower
    torch.manual_seed(job.seed)
    shape = TowerShape(
        num_users=job.num_users,
        num_items=job.num_items,
        dim=tower.dim,
        user_tower=tower.user_tower,
        pooling=tower.pooling,
        tied=tower.tied,
        decay_days=tower.decay_days,
        num_blocks=tower.num_blocks,
        dropout=tower.dropout,
        num_side=0 if items.side is None else int(items.side.max()),
        hist_max=job.hist_max,
        context=tower.context,
        trend_input=tower.trend_input,
    )
    towers = TwoTower(shape)
    if job.co_purchases_path is not None and tower.start == "ppmi":
        start = ppmi_vectors(job.co_purchases_path, job.num_items, tower.dim, job.seed)
        with torch.no_grad():
            towers.item_emb.weight.copy_(start)
    return RetrieverModel(towers, tower.temperature, tower.learn_temperature, tower.trend)


def load_sales(path: str, num_items: int, num_periods: int) -> RecentSales:
    """ITEM_SALES as the trainer holds it."""
    table = read_table(path)

    def column(name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = table.column(name).to_numpy().astype(dtype)
        return values

    columns = column("period", np.int64), column("item_idx", np.int64), column("num_events", np.float32)
    return RecentSales.of_rows(*columns, num_items, num_periods, column("num_before", np.float32))


def _customers_of(paths: Sequence[str], num_users: int) -> Tensor:
    """Which customers have an example, (num_users + 1,)."""
    found = torch.zeros(num_users + 1, dtype=torch.bool)
    for path in paths:
        for batch in dataset(path).to_batches(columns=["user_idx"]):
            found[torch.tensor(batch.column("user_idx").to_numpy())] = True
    return found


def _dev(job: RetrieverJob, group: Group) -> Any:
    if not job.dev_paths:
        return None
    reader = ParquetReader(job.dev_paths, _reader_options(job, group, shuffle=False))
    return lambda: (RetrieverBatch.of(columns) for columns in reader.epoch(0))


def _reader_options(job: RetrieverJob, group: Group, shuffle: bool) -> ReaderOptions:
    size, ranks = job.tower.batch_size, group.world_size
    if shuffle and group.is_first and size % ranks:
        taken = max(size // ranks, 1) * ranks
        log.warning("batch_size is %d, but %d processes share it evenly: a step takes %d examples", size, ranks, taken)
    return ReaderOptions(
        engine=job.engine,
        batch_size=max(size // ranks, 1),
        columns=RETRIEVER_COLUMNS,
        seed=job.seed,
        shuffle=shuffle,
        rank=group.rank,
        world_size=group.world_size,
        pin_memory=group.device.type == "cuda",
    )


def _loop_settings(job: RetrieverJob, group: Group, layout: Layout) -> LoopSettings:
    return LoopSettings(
        max_epochs=job.num_epochs or job.tower.max_epochs,
        patience=job.tower.patience,
        clip_norm=job.clip_norm,
        checkpoint_seconds=job.checkpoint_seconds,
        learning_rates=job.learning_rates,
        autocast=jobs.uses_bfloat16(job.precision, group.device),
        seed=job.seed,
        fingerprint=job.fingerprint(group.world_size, layout),
    )
