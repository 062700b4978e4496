"""What a training of the ranker is given, what it reads, and the one file that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow  # noqa: F401  as everywhere, before torch
import torch

from recsys_spark.contracts.checks import one_of, require
from recsys_spark.contracts.ranker_config import TRANSFORMS, GbdtConfig, RankerConfig
from recsys_spark.contracts.ranker_file import FORMAT, RANKER_FILE
from training import jobs
from training.files import folder_on_disk
from training.process_group import Group
from training.ranker.batches import QUERY, RankerBatch, columns_of, whole_queries
from training.ranker.schedule import rates_again
from training.reader import ParquetReader, ReaderOptions
from training.row_groups import Layout


@dataclass(frozen=True, kw_only=True)
class RankerJob:
    """Everything one training needs, as plain values that travel to other processes.

    features: columns of the shards; kinds: how each enters the MLP, of TRANSFORMS. The paths are of published tables
    with a row per query and candidate; without dev_paths training takes max_epochs, or num_rounds of trees, unless
    learning_rates (of the epochs of each member) or rounds (of each head's trees) say what an earlier training found.
    tracking_folder: under which TensorBoard's files stay.
    """

    features: tuple[str, ...]
    kinds: tuple[str, ...]
    train_paths: tuple[str, ...]
    dev_paths: tuple[str, ...]
    out_folder: str
    checkpoint_folder: str
    seed: int
    config: RankerConfig
    tracking_folder: str = "."
    learning_rates: tuple[tuple[float, ...], ...] = ()
    rounds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        names = self.features
        require(0 < len(names) == len(set(names)), "features", "at least one name, each once", names)
        require(len(self.kinds) == len(names), "kinds", f"{len(names)}, one for each feature", self.kinds)
        for kind in self.kinds:
            one_of(kind, TRANSFORMS, "an entry of kinds")
        if self.config.feature_drop:
            for name in self.config.drop_features:
                one_of(name, names, "an entry of ranker.drop_features, of which feature_drop is above 0,")

    def again(self, found: Mapping[str, Any]) -> RankerJob:
        """The job without a dev slice, for as long as another one that returned `found` was trained to its best."""
        members, heads = found.get("members", ()), found.get("boosters", {}).values()
        rates = tuple(rates_again(self.config, told) for told in members)
        rounds = tuple(told["rounds"] for told in heads)
        return replace(self, dev_paths=(), learning_rates=rates, rounds=rounds)

    def to_json(self) -> str:
        """The job as a text that `python -m training.ranker` takes."""
        return jobs.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> RankerJob:
        """The job that `to_json` wrote."""
        told = jobs.fields_of(text)
        config = {**told["config"], "gbdt": GbdtConfig(**told["config"]["gbdt"])}
        return cls(**{**told, "config": RankerConfig(**config)})

    def fingerprint(self, world_size: int, layout: Layout) -> str:
        """Changes with whatever a checkpoint may not be gone on with. layout: of the training rows."""
        told = {name: value for name, value in asdict(self).items() if name not in _FOLDERS}
        told["config"] = {name: value for name, value in told["config"].items() if name not in _OF_NO_CONSEQUENCE}
        return jobs.fingerprint(told, (*self.train_paths, *self.dev_paths), world_size, layout)


_FOLDERS = ("out_folder", "checkpoint_folder", "tracking_folder")
# For the weights of a member, that is; the number of processes is told apart.
_OF_NO_CONSEQUENCE = ("engine", "launcher", "num_processes", "num_seeds", "checkpoint_seconds", "tracking", "gbdt")


def open_reader(job: RankerJob, paths: tuple[str, ...], group: Group, seed: int, shuffle: bool) -> ParquetReader:
    """Reads the job's columns with the rows of a query together.

    Raises SchemaError for a column that is missing, ArtifactError and ConfigError as the reader does.
    """
    options = ReaderOptions(
        engine=job.config.engine,
        batch_size=job.config.batch_rows,
        columns=columns_of(job.features),
        seed=seed,
        shuffle=shuffle,
        rank=group.rank,
        world_size=group.world_size,
        pin_memory=group.device.type == "cuda",
        keep_together=QUERY,
    )
    return ParquetReader(paths, options)


def dev_batches(job: RankerJob, group: Group) -> Callable[[], Iterable[RankerBatch]] | None:
    """The dev queries of this rank, whole and on no other, as often as they are asked for."""
    if not job.dev_paths:
        return None
    reader = open_reader(job, job.dev_paths, group, job.seed, shuffle=False)
    return lambda: whole_queries(reader, job.features, epoch=0)


def save_ranker(job: RankerJob, kind: str, **content: Any) -> None:
    """Write RANKER_FILE: tensors and plain values alone, for `recsys_spark/ranker/score.py`."""
    with folder_on_disk(job.out_folder) as folder:
        torch.save({"format": FORMAT, "kind": kind, "features": list(job.features), **content}, folder / RANKER_FILE)
