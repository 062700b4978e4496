"""Publishes what towers are trained from: examples once for all fits, and for each fit what it may know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.neighbours import NeighbourOptions
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.retriever_config import RetrieverConfig
from recsys_spark.retriever.co_purchases import co_purchases
from recsys_spark.retriever.context import contexts_at, query_contexts
from recsys_spark.retriever.examples import basket_examples, in_random_order, item_examples, user_histories
from recsys_spark.retriever.items import tower_items
from recsys_spark.retriever.periods import Grid, item_sales
from recsys_spark.stage import StageIO

# What of fit=train lies before its dev slice: the number of epochs is found with nothing but that.
FOLD, EARLY, DEV = "fold", "early", "dev"
_PARTS = (FOLD, EARLY, DEV, "val", "test")  # in time order; each fit learns from all up to its own end
PARTS_OF_FIT = {fit: _PARTS[: number + 1] for number, fit in enumerate((FOLD, EARLY, "train", "val", "full"))}
_EVENT_COLUMNS = ("user_idx", "item_idx", "invoice_date", "description", "brand", "category", "price")
_MAX_FILES = 512


@dataclass(frozen=True)
class SharedTables:
    """What the inputs of all fits are made from, over all time, each kept on disk.

    events: of `indexed_events`. histories: with places where a tower is told of them. sales: of `sales_on_grid`.
    baskets: of `numbered_baskets`, None where no tower starts from co-purchases.
    """

    io: StageIO
    settings: RetrieverConfig
    events: DataFrame
    histories: DataFrame
    grid: Grid
    sales: DataFrame
    baskets: DataFrame | None


@dataclass(frozen=True)
class FitInputs:
    """One fit, and the number of snapshots of recent sales up to the last event that it knows."""

    fit: str
    num_periods: int


def indexed_events(io: StageIO, purchases: tuple[DataFrame, DataFrame, DataFrame]) -> DataFrame:
    """All interactions under their indices, kept on disk until the stage ends. purchases: of `read_purchases`."""
    interactions, items, users = purchases
    lines = interactions.join(items, on="stock_code", how="inner")
    return io.materialise("events", lines.join(users, on="customer_id", how="inner").select(*_EVENT_COLUMNS))


def times_of_events(events: DataFrame, ends: Mapping[str, Column]) -> tuple[int, dict[str, int]]:
    """The time of the first event, and by name that of the last event up to each end; microseconds since 1970, UTC."""
    micros = F.unix_micros("invoice_date")
    up_to = (F.max(F.when(F.col("invoice_date") <= end, micros)).alias(name) for name, end in ends.items())
    row = events.agg(F.min(micros), *up_to).first()
    assert row is not None  # an aggregate without keys has one row
    return row[0], {name: row[name] for name in ends}


def write_examples(shared: SharedTables, source: str, fold: Column, early: Column, seed: int) -> None:
    """Publish TOWER_EXAMPLES of QUERIES or SEQUENCES in the parts of PARTS_OF_FIT.

    fold, early: the times up to which training examples are of the parts `fold` and `early`; later ones are `dev`.
    """
    io, settings = shared.io, shared.settings

    def examples(split: str) -> DataFrame:
        queries, sequences = (io.read(table, split=split) for table in (artifacts.QUERIES, artifacts.SEQUENCES))
        contexts = query_contexts(shared.histories, queries) if settings.has_context else None
        if source == "queries":
            return basket_examples(queries, sequences, shared.grid, contexts)
        return item_examples(sequences, shared.grid, contexts)

    train, time = examples("train"), F.col("event_time")
    is_in = {FOLD: time <= fold, EARLY: (time > fold) & (time <= early), DEV: time > early}
    parts = {part: train.filter(inside) for part, inside in is_in.items()}
    parts |= {split: examples(split) for split in ("val", "test")}
    table = artifacts.QUERIES if source == "queries" else artifacts.SEQUENCES  # an example for each of its rows
    row = io.read(table, split="train").agg(*(F.count_if(each).alias(part) for part, each in is_in.items())).first()
    assert row is not None  # an aggregate without keys has one row
    num_rows = {**row.asDict(), **{split: io.num_rows(table, split=split) for split in ("val", "test")}}
    for part, rows in parts.items():
        num_files = max(num_rows[part] // settings.row_group_rows, settings.num_processes)
        spread = in_random_order(rows, seed, min(num_files, _MAX_FILES))
        io.write(artifacts.TOWER_EXAMPLES, spread, source=source, part=part)


def write_fit(shared: SharedTables, fit: str, last: int, hist_max: int, pairs: NeighbourOptions) -> FitInputs:
    """Publish ITEM_SALES, USER_HISTORIES, TOWER_ITEMS and, where baskets are shared, CO_PURCHASES of a fit.

    last: time of the last event up to the cutoff of the fit, of `times_of_events`. hist_max: events that the longest
    history of a tower holds. pairs: of co-purchases.
    """
    io, settings, histories, grid = shared.io, shared.settings, shared.histories, shared.grid
    is_known = F.col("invoice_date") <= F.timestamp_micros(F.lit(last))
    known = shared.events.filter(is_known)
    io.write(artifacts.ITEM_SALES, item_sales(shared.sales, known, grid, last, settings.recent_days), fit=fit)
    contexts = contexts_at(histories, last) if settings.has_context else None
    io.write(artifacts.USER_HISTORIES, user_histories(histories, last, hist_max, contexts), fit=fit)
    if shared.baskets is not None:
        counted = co_purchases(shared.baskets.filter(is_known), pairs, io.scratch(f"co_purchases_{fit}"))
        io.write(artifacts.CO_PURCHASES, counted, fit=fit)
    chosen = [settings.tower(tower) for tower in settings.towers]
    features = sorted({feature for tower in chosen for feature in tower.side_features})
    for source in sources_of(settings):
        items = tower_items(_all_parts(io, source, PARTS_OF_FIT[fit]), known, features)
        io.write(artifacts.TOWER_ITEMS, items, fit=fit, source=source)
    return FitInputs(fit, grid.last_before(last) + 2)


def sources_of(settings: RetrieverConfig) -> list[str]:
    """The tables that the chosen towers take their examples from."""
    return sorted({settings.tower(tower).examples for tower in settings.towers})


def example_paths(io: StageIO, source: str, parts: Sequence[str]) -> tuple[str, ...]:
    """Where some parts of the examples lie."""
    return tuple(io.path(artifacts.TOWER_EXAMPLES, source=source, part=part) for part in parts)


def _all_parts(io: StageIO, source: str, parts: Sequence[str]) -> DataFrame:
    found = io.read(artifacts.TOWER_EXAMPLES, source=source, part=parts[0])
    for part in parts[1:]:
        found = found.unionByName(io.read(artifacts.TOWER_EXAMPLES, source=source, part=part))
    return found
