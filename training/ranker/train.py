"""Assembly of the ranker's training: data, transform, members, loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401  as everywhere, before torch
import torch

from training import jobs
from training.loop import Loop, LoopSettings
from training.optimizers import Optimizers
from training.process_group import Group, process_group
from training.ranker.batches import RankerBatch, whole_queries
from training.ranker.gbdt import train_gbdt
from training.ranker.job import RankerJob as RankerJob
from training.ranker.job import dev_batches, open_reader, save_ranker
from training.ranker.metrics import JUDGED_BY
from training.ranker.model import RankerEnsemble, RankerMLP
from training.ranker.objective import ObjectiveOptions, RankerTask
from training.ranker.sample import sample_rows
from training.ranker.schedule import rates_of
from training.ranker.transform import FeatureTransform
from training.row_groups import Layout
from training.tracking import tracker

_SEEDS_APART = 100  # the most members there are: no two jobs share one

Dev = Callable[[], Iterable[RankerBatch]]


def train_ranker(job: RankerJob) -> dict[str, Any]:
    """Train the ranker on this process's share of the queries; the first process writes RANKER_FILE.

    Returns what each member (or each head's trees) came to, the metrics of the whole on the dev slice, and the seconds.
    Deterministic on CPU for a seed, however often it was interrupted. A head without any positive to learn from orders
    at random. Raises SchemaError for a column that is missing, DataError where no row is a positive or a feature is no
    finite number.
    """
    with process_group() as group:
        found = _train_members(job, group) if job.config.model == "mlp" else train_gbdt(job, group)
        group.wait()
    return found


def _train_members(job: RankerJob, group: Group) -> dict[str, Any]:
    transform, dev = fitted_transform(job, group), dev_batches(job, group)
    trained = [_train_member(job, group, number, transform, dev) for number in range(job.config.num_seeds)]
    members, told = [member for member, _ in trained], [each for _, each in trained]
    ensemble = RankerEnsemble(members).eval()
    metrics = RankerTask(ensemble, ObjectiveOptions(), group, dev).evaluate()
    if group.is_first:
        states = [{name: value.cpu() for name, value in member.state_dict().items()} for member in members]
        save_ranker(job, "mlp", kinds=list(job.kinds), within_query=job.config.within_query, members=states)
    return {"members": told, "dev": metrics, "seconds": round(sum(each["seconds"] for each in told), 2)}


def fitted_transform(job: RankerJob, group: Group) -> FeatureTransform:
    """The transform that all members share, from one pass over the training rows."""
    reader = open_reader(job, job.train_paths, group, job.seed, shuffle=False)
    transform = FeatureTransform(job.kinds)
    transform.fit(sample_rows(reader.epoch(0), job.features, group))
    return transform.to(group.device)


def _train_member(
    job: RankerJob, group: Group, number: int, transform: FeatureTransform, dev: Dev | None
) -> tuple[RankerMLP, dict[str, Any]]:
    """One member; its seed decides its first weights, the order of its queries, and its dropout."""
    config, name, seed = job.config, f"member_{number}", job.seed * _SEEDS_APART + number
    torch.manual_seed(seed)
    model = RankerMLP(transform, config.hidden, config.dropout, config.within_query).to(group.device)
    group.share_weights(model)
    task = RankerTask(model, objective_of(job), group, dev)
    optimizers = Optimizers(model, config.learning_rate, config.weight_decay)
    reader = open_reader(job, job.train_paths, group, seed, shuffle=True)

    def batches(epoch: int, skip: int) -> Iterator[RankerBatch]:
        return whole_queries(reader, job.features, epoch, skip)

    tracking, run = config.tracking if group.is_first else "none", f"{Path(job.out_folder).name}_{name}"
    with tracker(tracking, job.tracking_folder, run, asdict(config), section="ranker") as report:
        folder = f"{job.checkpoint_folder}/{name}"
        settings = _loop_settings(job, group, number, seed, reader.layout)
        trained = Loop(task, optimizers, batches, settings, group, folder, report).run()
    return model.eval(), jobs.summary(trained, reader)


def objective_of(job: RankerJob) -> ObjectiveOptions:
    """The options of the loss that a job's settings state."""
    config = job.config
    return ObjectiveOptions(
        form=config.loss,
        negatives_per_positive=config.negatives_per_positive,
        dropped=tuple(place for place, name in enumerate(job.features) if name in config.drop_features),
        drop_share=config.feature_drop,
    )


def _loop_settings(job: RankerJob, group: Group, number: int, seed: int, layout: Layout) -> LoopSettings:
    config = job.config
    found = job.learning_rates[number] if job.learning_rates else ()
    return LoopSettings(
        max_epochs=len(found) or config.max_epochs,
        learning_rates=found or rates_of(config),
        metric=JUDGED_BY,
        patience=config.patience,
        clip_norm=config.clip_norm,
        checkpoint_seconds=config.checkpoint_seconds,
        autocast=jobs.uses_bfloat16(config.precision, group.device),
        seed=seed,
        fingerprint=job.fingerprint(group.world_size, layout),
    )
