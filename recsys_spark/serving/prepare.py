"""Makes a bundle of a finished run: what is proposed to every customer, and copies of what the models are made of."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
import uuid
from dataclasses import replace
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
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.manifest import SUFFIX
from recsys_spark.paths import fetch, spark_uri
from recsys_spark.ranker.two_stage import TwoStageModel
from recsys_spark.recommendations.facts import Sales
from recsys_spark.recommendations.fitted_rules import fitted_evidence, fitted_rules, with_exclusions
from recsys_spark.recommendations.lists import queries_at
from recsys_spark.recommendations.moment import last_event, moment_after
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.reading import read_purchases
from recsys_spark.serving.bundle import BundleCard, CustomerArrays, file_sizes, publish, write_ids
from recsys_spark.serving.customers import CustomersKernel, write_customers
from recsys_spark.serving.items import SALES, write_baskets, write_rules, write_sales
from recsys_spark.serving.plan import (
    FORMAT,
    Plan,
    Served,
    bundles_folder,
    is_unchanged,
    models_of,
    plan_of,
    tables_of_rules,
)
from recsys_spark.serving.queries import of_basket, of_customer
from recsys_spark.stage import StageIO
from recsys_spark.storage import Storage

_EPOCH = datetime(1970, 1, 1)
log = logging.getLogger("recsys")


def prepare(served: Served, storage: Storage) -> Path:
    """The bundle of the run, made now unless it is there; storage has a session.

    Raises ArtifactError where the run, or a table of the business, changes meanwhile.
    """
    started, plan = time.monotonic(), plan_of(served, storage)
    folder = bundles_folder(served.config, storage)
    target = folder / plan.digest
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{plan.digest}.", dir=folder))
    staged.chmod(0o755)  # others may serve it
    # Scratch of its own: a server may make the same bundle while this is made by hand.
    own = replace(served, stage=replace(served.stage, name=f"{served.stage.name}_{uuid.uuid4().hex}"))
    try:
        _fill(own, storage, plan, staged)
        if not is_unchanged(storage, plan.inputs) or tables_of_rules(served.config) != plan.tables:
            raise ArtifactError(
                f"{storage.location} or a table of its rules changed while it was made ready to serve; start again"
            )
        publish(staged, target)
    finally:
        storage.sweep(own.stage.name)
        shutil.rmtree(staged, ignore_errors=True)
    log.info("serve: bundle %s of %s made (%.1f s)", plan.digest, plan.run, time.monotonic() - started)
    return target


def two_stage_of(models: dict[str, Model]) -> TwoStageModel | None:
    """The model of two stages, of which a run has at most one."""
    return next((model for model in models.values() if isinstance(model, TwoStageModel)), None)


def ranker_features(model: TwoStageModel | None) -> tuple[str, ...]:
    """What its ranker scores, in order."""
    if model is None:
        return ()
    from recsys_spark.ranker.score import load_ranker  # torch

    return load_ranker(model.ranker.path, model.ranker.content).features


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
    write_customers(_asked(io, served.config), kernel, io.scratch("customers"), folder, len(customers))
    arrays = CustomerArrays.mapped(folder)
    _write_item_arrays(io, served.config, arrays, folder)
    card = BundleCard(
        format=FORMAT,
        run=plan.run,
        digest=plan.digest,
        fit=plan.fit,
        moment=_micros_after(last_event(io.read(INTERACTIONS_CLEAN))),
        models=dict(plan.names),
        inputs=dict(plan.inputs),
        tables=dict(plan.tables),
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


def _asked(io: StageIO, config: PipelineConfig) -> DataFrame:
    """Every customer's query with what was bought before it, and what the rules keep from it."""
    interactions, item_ids, customer_ids = read_purchases(io)
    merge_minutes = config.sequences.merge_minutes
    histories = customer_histories(
        interactions, item_ids, customer_ids, merge_minutes, with_quantities=True, with_places=True
    )
    queries = queries_at(customer_ids, interactions, moment_after(interactions, None))
    asked = with_queries(histories, queries)
    root = config.paths.processed
    return spread(with_exclusions(io, asked, customer_ids, config.recommend, config.ingest, root))


def _write_item_arrays(io: StageIO, config: PipelineConfig, arrays: CustomerArrays, folder: Path) -> None:
    """Rules, sales and baskets of items."""
    interactions, num_items = io.read(INTERACTIONS_CLEAN), io.num_rows(ITEM_ID_MAP)
    items = io.read(ITEMS_CLEAN)
    rules = fitted_rules(io, items, config.recommend, config.ingest, config.clean.dates, interactions)
    write_rules(rules(), folder / "rules")
    moment = moment_after(interactions, None)
    sales = Sales(interactions, items, moment, config.baselines.recent_days).of_items()
    scratch = io.scratch("sales")
    sales.select("item_idx", *SALES).write.mode("overwrite").parquet(spark_uri(scratch))
    write_sales(read_columns(scratch), num_items, folder)
    write_baskets(arrays, num_items, folder)


def _copy(storage: Storage, labels: tuple[str, ...], folder: Path) -> None:
    """Artifacts with their manifests, as a run of their own."""
    for label in labels:
        for ending in ("", SUFFIX):
            fetch(storage.path(label) + ending, f"{folder / label}{ending}")


def _write_items(io: StageIO, path: Path) -> None:
    """Every item with its text."""
    known = read_columns(io.path(ITEM_ID_MAP), "item_idx", "stock_code")
    texts = read_columns(io.path(ITEMS_CLEAN), "item_idx", "description", "category")
    joined = known.join(texts, keys="item_idx", join_type="left outer").combine_chunks()
    columns = ("stock_code", "description", "category")
    write_ids(path, numbers(joined, "item_idx"), {name: _texts(joined, name) for name in columns})


def _texts(table: pa.Table, name: str) -> pa.Array:
    found = table.column(name).combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _micros_after(last: str) -> int:
    return (datetime.fromisoformat(last) - _EPOCH) // timedelta(microseconds=1) + 1


def _keep_arrays(served: Served, card: BundleCard, arrays: CustomerArrays, folder: Path) -> None:
    """Let every model of the bundle score a customer and a basket, and look for what speaks for an item, so that all
    that is loaded for it is kept beside its tables.
    """
    io = StageIO(served.stage, Storage(str(folder / "run")), served.config)
    models = models_of(io, served.settings, card.models, card.fit)
    evidence = fitted_evidence(io, served.settings, served.config.recommend.reasons.recent_items, card.fit)
    busiest = int(np.argmax(np.diff(arrays.event_offsets)))
    with keeping_arrays():
        for model in models.values():
            model.score(of_customer(arrays, busiest, card.moment))
            model.score(of_basket(np.array([1]), np.array([1.0]), card))
        batch = of_customer(arrays, busiest, card.moment)
        evidence.together(batch, batch.purchases, np.array([0]), np.array([1]))
