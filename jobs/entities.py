"""Number items and customers densely and describe each of them."""

from __future__ import annotations

from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    CUSTOMERS_CLEAN,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEMS_CLEAN,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.entities.customers import build_customers
from recsys_spark.entities.id_maps import dense_index
from recsys_spark.entities.items import build_items
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    interactions = io.read(INTERACTIONS_CLEAN)
    items = io.write(ITEM_ID_MAP, dense_index(interactions, "stock_code", "item_idx"))
    customers = io.write(CUSTOMER_ID_MAP, dense_index(interactions, "customer_id", "user_idx"))
    io.write(ITEMS_CLEAN, build_items(interactions, io.read(ITEM_ID_MAP)))
    io.write(CUSTOMERS_CLEAN, build_customers(interactions, io.read(CUSTOMER_ID_MAP)))
    return {"items": items, "customers": customers}


STAGE = Stage(
    "entities",
    reads=(INTERACTIONS_CLEAN,),
    writes=(ITEM_ID_MAP, CUSTOMER_ID_MAP, ITEMS_CLEAN, CUSTOMERS_CLEAN),
    sections=(),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
