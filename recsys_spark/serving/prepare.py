"""Makes a bundle of a finished run: what is proposed to every customer, and copies of what the models are made of."""

from __future__ import annotations

import logging
import os
import shutil
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.mapped_arrays import keeping_arrays
from recsys_spark.baselines.query_batches import spread, with_queries
from recsys_spark.baselines.ranking import Model
from recsys_spark.contracts.artifacts import CUSTOMER_ID_MAP, INTERACTIONS_CLEAN, ITEM_ID_MAP, ITEMS_CLEAN
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.manifest import SUFFIX
from recsys_spark.paths import filesystem
from recsys_spark.ranker.two_stage import TwoStageModel
from recsys_spark.recommendations.lists import queries_at
from recsys_spark.recommendations.moment import last_event, moment_after
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.serving.bundle import BundleCard, CustomerArrays, file_sizes, publish, write_ids
from recsys_spark.serving.customers import CustomersKernel, write_customers
from recsys_spark.serving.plan import FORMAT, Plan, Served, bundles_folder, is_unchanged, models_of, plan_of
from recsys_spark.serving.queries import of_basket, of_customer
from recsys_spark.stage import StageIO
from recsys_spark.storage import Storage

_EPOCH = datetime(1970, 1, 1)
log = logging.getLogger("recsys")


def prepare(served: Served, storage: Storage) -> Path:
    """The bundle of the run, made now unless it is there; storage has a session.

    Raises ArtifactError where the run changes meanwhile.
    """
    started, plan = time.monotonic(), plan_of(served, storage)
    folder = bundles_folder(served.config, storage)
    target = folder / plan.digest
    if target.exists():
        return target
    staged = folder / f".{plan.digest}.{os.getpid()}"
    staged.mkdir(parents=True)
    try:
        _fill(served, storage, plan, staged)
        if not is_unchanged(storage, plan.inputs):
            raise ArtifactError(f"{storage.location} changed while it was made ready to serve; start again")
        publish(staged, target)
    finally:
        storage.sweep(served.stage.name)
        shutil.rmtree(staged, ignore_errors=True)
    log.info("serve: bundle %s of %s made (%.1f s)", plan.digest, plan.run, time.monotonic() - started)
    return target


def two_stage_of(models: dict[str, Model]) -> TwoStageModel | None:
    """The model of two stages, of which a run has at most one."""
    return next((model for model in models.values() if isinstance(model, TwoStageModel)), None)


def ranker_features(model: TwoStageModel | None) -> tuple[str, ...]:
    """What its ranker scores, in order."""
    from recsys_spark.ranker.score import load_ranker  # torch

    return load_ranker(model.ranker.path, model.ranker.content).features if model else ()


def _fill(served: Served, storage: Storage, plan: Plan, folder: Path) -> None:
    io = StageIO(served.stage, storage, served.config)
    _copy(storage, plan.model_labels, folder / "run")
    customers = read_columns(io.path(CUSTOMER_ID_MAP), "user_idx", "customer_id")
    write_ids(
        folder / "customers.arrow", numbers(customers, "user_idx"), {"customer_id": _texts(customers, "customer_id")}
    )
    _write_items(io, folder / "items.arrow")
    model = two_stage_of(dict(plan.models))
    kernel = CustomersKernel(model, ranker_features(model))
    asked = _asked(io, served.config.sequences.merge_minutes)
    write_customers(asked, kernel, io.scratch("customers"), folder, len(customers))
    arrays = CustomerArrays.mapped(folder)
    card = BundleCard(
        format=FORMAT,
        run=plan.run,
        digest=plan.digest,
        fit=plan.fit,
        moment=_micros_after(last_event(io.read(INTERACTIONS_CLEAN))),
        models=dict(plan.names),
        inputs=dict(plan.inputs),
        num_customers=len(customers),
        num_items=io.num_rows(ITEM_ID_MAP),
        num_events=len(arrays.items),
        num_offers=len(arrays.offer_items),
        features=kernel.features,
        sources=model.builder.sources if model else (),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    _keep_arrays(served, card, arrays, folder)
    BundleCard(**{**vars(card), "files": file_sizes(folder)}).write(folder)


def _asked(io: StageIO, merge_minutes: int) -> DataFrame:
    interactions, customer_ids, item_ids = (
        io.read(each) for each in (INTERACTIONS_CLEAN, CUSTOMER_ID_MAP, ITEM_ID_MAP)
    )
    histories = customer_histories(interactions, item_ids, customer_ids, merge_minutes, with_quantities=True)
    queries = queries_at(customer_ids, interactions, moment_after(interactions, None))
    return spread(with_queries(histories, queries))


def _copy(storage: Storage, labels: tuple[str, ...], folder: Path) -> None:
    """Artifacts with their manifests, as a run of their own."""
    for label in labels:
        fs, plain = filesystem(storage.path(label))
        target = folder / label
        target.parent.mkdir(parents=True, exist_ok=True)
        fs.get(plain, str(target), recursive=fs.isdir(plain))
        fs.get_file(plain + SUFFIX, f"{target}{SUFFIX}")


def _write_items(io: StageIO, path: Path) -> None:
    """Every item with its text."""
    known = read_columns(io.path(ITEM_ID_MAP), "item_idx", "stock_code")
    texts = read_columns(io.path(ITEMS_CLEAN), "item_idx", "description")
    joined = known.join(texts, keys="item_idx", join_type="left outer").combine_chunks()
    write_ids(path, numbers(joined, "item_idx"), {name: _texts(joined, name) for name in ("stock_code", "description")})


def _texts(table: pa.Table, name: str) -> pa.Array:
    found = table.column(name).combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _micros_after(last: str) -> int:
    return (datetime.fromisoformat(last) - _EPOCH) // timedelta(microseconds=1) + 1


def _keep_arrays(served: Served, card: BundleCard, arrays: CustomerArrays, folder: Path) -> None:
    """Let every model of the bundle score a customer and a basket, so that all it loads is kept beside its tables."""
    storage = Storage(str(folder / "run"))
    models = models_of(StageIO(served.stage, storage, served.config), served.settings, card.models, card.fit)
    busiest = int(np.argmax(np.diff(arrays.event_offsets)))
    with keeping_arrays():
        for model in models.values():
            model.score(of_customer(arrays, busiest, card.moment))
            model.score(of_basket(np.array([1]), np.array([1.0]), card))
