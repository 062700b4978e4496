"""Publishes what the towers of one fit are trained from."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.baselines.neighbours import NeighbourOptions
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import CUSTOMER_ID_MAP, INTERACTIONS_CLEAN, ITEM_ID_MAP
from recsys_spark.contracts.columns import SPLITS
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.retriever_config import RetrieverConfig
from recsys_spark.retriever.co_purchases import co_purchases
from recsys_spark.retriever.examples import in_random_order, tower_examples, user_histories
from recsys_spark.retriever.items import tower_items
from recsys_spark.retriever.periods import Snapshots, item_sales
from recsys_spark.stage import StageIO

TRAIN, DEV = "train", "dev"
# What of fit=train lies before its dev slice: the number of epochs is found with nothing but that.
EARLY = "early"
FITS = (EARLY, "train", "val", "full")
_SOURCES = {"queries": artifacts.QUERIES, "sequences": artifacts.SEQUENCES}
_MAX_FILES = 512


@dataclass(frozen=True)
class FitInputs:
    """What one fit may know: its last event, and the snapshots of recent sales up to then."""

    fit: str
    last_micros: int
    snapshots: Snapshots

    @property
    def cutoff(self) -> Column:
        return F.timestamp_micros(F.lit(self.last_micros))


def write_inputs(
    io: StageIO,
    settings: RetrieverConfig,
    fit: str,
    cutoff: Column,
    histories: DataFrame,
    hist_max: int,
    pairs: NeighbourOptions | None,
) -> FitInputs:
    """Publish ITEM_SALES, USER_HISTORIES and, with options for the pairs, CO_PURCHASES of a fit."""
    events = _events(io, cutoff)
    ends = events.agg(F.min("invoice_date").alias("first"), F.max("invoice_date").alias("last"))
    row = ends.select(F.unix_micros("first").alias("first"), F.unix_micros("last").alias("last")).first()
    assert row is not None
    inputs = FitInputs(fit, row["last"], Snapshots.before(row["last"], row["first"], settings.snapshot_days))
    io.write(artifacts.ITEM_SALES, item_sales(events, inputs.snapshots, settings.recent_days), fit=fit)
    io.write(artifacts.USER_HISTORIES, user_histories(histories, inputs.last_micros, hist_max), fit=fit)
    if pairs is not None:
        io.write(artifacts.CO_PURCHASES, co_purchases(events, pairs, io.scratch(f"co_purchases_{fit}")), fit=fit)
    return inputs


def write_examples(
    io: StageIO,
    settings: RetrieverConfig,
    inputs: FitInputs,
    source: str,
    seed: int,
    dev_until: Column | None = None,
) -> None:
    """Publish TOWER_EXAMPLES and TOWER_ITEMS of a fit. dev_until: the examples after the cutoff and up to then are the
    part `dev`.
    """
    splits = [io.read(_SOURCES[source], split=split) for split in _splits_up_to(inputs.fit)]
    examples = tower_examples(splits, inputs.cutoff if dev_until is None else dev_until, inputs.snapshots)
    examples = io.materialise(f"examples_{inputs.fit}_{source}", examples)
    is_known = F.col("event_time") <= inputs.cutoff
    parts = {TRAIN: examples.filter(is_known)}
    if dev_until is not None:
        parts[DEV] = examples.filter(~is_known)
    for part, rows in parts.items():
        num_files = min(max(rows.count() // settings.row_group_rows, settings.num_processes), _MAX_FILES)
        spread = in_random_order(rows, seed, num_files)
        io.write(artifacts.TOWER_EXAMPLES, spread, fit=inputs.fit, source=source, part=part)
    features = {feature for tower in settings.towers for feature in settings.tower(tower).side_features}
    items = tower_items(parts[TRAIN], _events(io, inputs.cutoff), sorted(features))
    io.write(artifacts.TOWER_ITEMS, items, fit=inputs.fit, source=source)


def early_end(queries: DataFrame, dev_share: float) -> Column:
    """The time up to which all but the last `dev_share` of the training queries lie; whole times only."""
    per_time = queries.groupBy("event_time").agg(F.count(F.lit(1)).alias("queries"))
    # One task sees all distinct times, as for the cutoffs themselves.
    reached = F.sum("queries").over(Window.orderBy("event_time"))
    total = F.broadcast(per_time.agg(F.sum("queries").alias("total")))
    early = per_time.withColumn("reached", reached).crossJoin(total).filter(f"reached <= {1 - dev_share} * total")
    row = early.agg(F.max(F.unix_micros("event_time")).alias("micros")).first()
    if row is None or row["micros"] is None:
        raise DataError("too few training queries for a dev slice; lower retriever.dev_share or bring more lines")
    return F.timestamp_micros(F.lit(row["micros"]))


def _splits_up_to(fit: str) -> tuple[str, ...]:
    return SPLITS[: {EARLY: 1, "fold": 1, "train": 1, "val": 2, "full": 3}[fit]]


def _events(io: StageIO, cutoff: Column) -> DataFrame:
    """Interactions up to a cutoff under their indices."""
    lines = io.read(INTERACTIONS_CLEAN).filter(F.col("invoice_date") <= cutoff)
    users = io.read(CUSTOMER_ID_MAP)
    return lines.join(io.read(ITEM_ID_MAP), on="stock_code", how="inner").join(users, on="customer_id", how="inner")
