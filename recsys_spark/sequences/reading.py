"""The purchases of a run, as the stages behind `entities` read them."""

from __future__ import annotations

from pyspark.sql import DataFrame

from recsys_spark.contracts.artifacts import PURCHASE_TABLES
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.stage import StageIO


def read_purchases(io: StageIO) -> tuple[DataFrame, DataFrame, DataFrame]:
    """INTERACTIONS_CLEAN, ITEM_ID_MAP and CUSTOMER_ID_MAP."""
    interactions, item_ids, customer_ids = (io.read(table) for table in PURCHASE_TABLES)
    return interactions, item_ids, customer_ids


def read_histories(
    io: StageIO,
    merge_minutes: int,
    purchases: tuple[DataFrame, DataFrame, DataFrame] | None = None,
    *,
    with_quantities: bool = False,
    with_places: bool = False,
) -> DataFrame:
    """`customer_histories` of all purchases, kept on disk until the stage ends; once in a stage.

    purchases: of `read_purchases`, where the stage has read them already.
    """
    tables = read_purchases(io) if purchases is None else purchases
    histories = customer_histories(*tables, merge_minutes, with_quantities=with_quantities, with_places=with_places)
    return io.materialise("histories", histories)
