"""Gradient-boosted trees in place of the MLP: LightGBM on the features as they are, one booster for each head.

It holds the rows of a head in memory, 4 bytes a value and as much again while they are gathered. It runs on one process
and is not resumed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.ranker_file import HEADS
from training.process_group import Group
from training.ranker.batches import RankerBatch, whole_queries
from training.ranker.job import RankerJob, dev_batches, open_reader, save_ranker
from training.ranker.metrics import JUDGED_BY, K, dev_metrics, rows_of_head
from training.ranker.sample import require_positives

log = logging.getLogger("recsys")
_ALONE = Group()


@dataclass(frozen=True)
class Candidates:
    """The rows of a head. query_sizes: of each query that has rows, in order."""

    features: npt.NDArray[np.float32]  # (N, F)
    label: npt.NDArray[np.float32]  # (N,)
    query_sizes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, batches: Iterable[RankerBatch], head: str) -> Candidates:
        """The rows of all batches."""
        features, label, sizes = [], [], []
        for batch in batches:
            rows = rows_of_head(batch, head)
            features.append(batch.features[rows].numpy())
            label.append(batch.label[rows].numpy())
            sizes.append(torch.bincount(batch.query[rows]).numpy())
        found = cls(*map(np.concatenate, (features, label, sizes)))
        return cls(found.features, found.label, found.query_sizes[found.query_sizes > 0])


def train_gbdt(job: RankerJob, group: Group) -> dict[str, Any]:
    """Train both boosters on the first process, and write RANKER_FILE with LightGBM's model text, which is no pickle.
    A head without candidates takes the trees of the other.

    Returns rounds and dev curve by head, the metrics of both on the dev slice, and the seconds. Raises ConfigError
    where LightGBM is missing, DataError where no row is a positive.
    """
    if not group.is_first:
        return {}
    started, lightgbm = time.perf_counter(), import_lightgbm()
    dev = dev_batches(job, _ALONE)
    boosters: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for place, head in enumerate(HEADS):
        reader = open_reader(job, job.train_paths, _ALONE, job.seed, shuffle=False)
        train = Candidates.of(whole_queries(reader, job.features, epoch=0), head)
        if head == "all":
            require_positives(int(train.label.sum()))
        elif not len(train.label):
            log.warning("no candidate is new to its customer: the head '%s' takes the trees of 'all'", head)
            boosters[head], told[head] = boosters["all"], told["all"]
            continue
        held_out = _held_out(dev(), head) if dev else None
        num_rounds = job.rounds[place] if job.rounds else job.config.gbdt.num_rounds
        boosters[head], told[head] = _train_booster(lightgbm, job, num_rounds, train, held_out)
    metrics = dev_metrics(_scored(boosters, dev()), _ALONE) if dev else {}
    save_ranker(job, "gbdt", boosters={head: booster.model_to_string() for head, booster in boosters.items()})
    return {"boosters": told, "dev": metrics, "seconds": round(time.perf_counter() - started, 2)}


def _held_out(batches: Iterable[RankerBatch], head: str) -> Candidates | None:
    """The rows of the dev slice that say when to stop, None where none of them is a positive."""
    found = Candidates.of(batches, head)
    if found.label.any():
        return found
    # LightGBM counts a query without a positive as a perfect one, so that no round would better the first.
    log.warning("the dev slice has no positive for the head '%s', which trains for all its rounds", head)
    return None


def _train_booster(
    lightgbm: Any, job: RankerJob, num_rounds: int, train: Candidates, dev: Candidates | None
) -> tuple[Any, dict[str, Any]]:
    """One booster, cut after its best round on the dev slice, and what it came to."""
    settings = job.config.gbdt
    curve: dict[str, dict[str, list[float]]] = {}
    parameters = {
        "objective": job.config.model,
        "metric": "ndcg",  # JUDGED_BY
        "eval_at": [K],
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.num_leaves,
        "min_data_in_leaf": settings.min_leaf_rows,
        "seed": job.seed,
        "deterministic": True,  # whatever the number of threads
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = _dataset(lightgbm, train, job.features)
    held_out, callbacks = [], []
    if dev is not None:
        held_out = [_dataset(lightgbm, dev, job.features, reference=data)]
        callbacks = [lightgbm.early_stopping(settings.patience, verbose=False), lightgbm.record_evaluation(curve)]
    booster = lightgbm.train(parameters, data, num_rounds, held_out, ["dev"], callbacks=callbacks)
    rounds = booster.best_iteration if dev is not None else booster.current_iteration()
    return booster, {"rounds": rounds, "curve": curve.get("dev", {}).get(JUDGED_BY, [])}


def _dataset(lightgbm: Any, rows: Candidates, features: tuple[str, ...], reference: Any = None) -> Any:
    return lightgbm.Dataset(
        rows.features, rows.label, group=rows.query_sizes, feature_name=list(features), reference=reference
    )


def _scored(boosters: Mapping[str, Any], batches: Iterable[RankerBatch]) -> Iterator[tuple[RankerBatch, Tensor]]:
    """Batches with their scores by head, (N, 2)."""
    for batch in batches:
        if len(batch):
            columns = [boosters[head].predict(batch.features.numpy(), raw_score=True) for head in HEADS]
            yield batch, torch.from_numpy(np.stack(columns, axis=1))


def import_lightgbm() -> Any:
    """LightGBM's module. Raises ConfigError where it is missing."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:  # the second where the machine lacks libgomp
        told = f"ranker.model needs LightGBM, which cannot be imported ({error}): install the extra gbdt"
        raise ConfigError(told) from None
    return lightgbm
