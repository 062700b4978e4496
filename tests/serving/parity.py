"""Holds what a server answers against what `recommend` lists for the same moment."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

from jobs import evaluate, recommend
from jobs.serve import served_by
from recsys_spark.contracts.artifacts import EVALUATION
from recsys_spark.contracts.load_config import load_config
from recsys_spark.serving.answers import Product, Wish, basket_of, for_basket, for_customer
from recsys_spark.serving.prepare import prepare
from recsys_spark.serving.state import State
from recsys_spark.stage import StageIO, run_stage
from recsys_spark.storage import Storage

NEW, BASKET = "someone new", {"10003": 2.0, "10011": 1.0, "10005": 4.0}
COLUMNS = ["stock_code", "description", "score", "reason", "reason_kind", "reason_facts", "model", "sources"]
STOCK = "stock_code,stock,to\n10004,0,\n10007,5,2011-01-31\n10008,5,2013-01-31\n"
EXCLUSIONS = "customer_id,stock_code\n01,10005\n01,10006\n02,10012\n"


def served_against_listed(
    spark: SparkSession, overlays: Sequence[str], pairs: Sequence[str], folder: Path, headers: Sequence[str]
) -> tuple[int, list[str]]:
    """How many customers were held against their list, one that comes with a basket among them, and who differs.

    Both stages are made the best model, and rules of each kind are set. The basket comes to `recommend` as lines of the
    time of the last event, in a run of its own: to the other customers these are purchases that no server knows of.
    """
    wish = Wish(k=12, share_new=0.4)
    (folder / "stock.csv").write_text(STOCK)
    (folder / "exclusions.csv").write_text(EXCLUSIONS)
    asked = [f"recommend.top_n={wish.k}", f"recommend.share_new={wish.share_new}", "recommend.excluded_codes=[10001]"]
    asked.append(f"recommend.eligibility.table={folder / 'stock.csv'}")
    asked.append(f"recommend.customer_exclusions={folder / 'exclusions.csv'}")
    config = load_config(overlays, [*pairs, *asked])
    storage = Storage(config.paths.processed, spark)
    _make_best(storage, config, "two_stage")
    run_stage(recommend.STAGE, config, storage)
    listed = _listed(pairs)
    new = folder / "new.csv"
    with new.open("w", newline="", encoding="utf-8") as file:
        last = pd.read_parquet(_root(pairs) / "interactions_clean.parquet")["invoice_date"].max().isoformat()
        lines = [["N1", code, "item", int(count), last, "12.5", NEW, "UK"] for code, count in BASKET.items()]
        csv.writer(file).writerows([headers, *lines])
    run_stage(recommend.STAGE, load_config(overlays, [*pairs, *asked, f"recommend.new_lines=[{new}]"]), storage)
    with_basket = _listed(pairs)
    listed = pd.concat([listed, with_basket[with_basket["customer_id"] == NEW]])
    served = served_by(config)
    state = State.open(prepare(served, storage), served, "run")
    assert state.card.num_offers > 0
    assert {"popular", "repeat", "similar"} <= set(listed["reason_kind"])
    odd = []
    for customer, expected in listed.groupby("customer_id"):
        if customer == NEW:
            items, quantities, unknown = basket_of(state, list(BASKET.items()))
            assert not unknown
            found = for_basket(state, items, quantities, wish)
        else:
            user = state.customers.find(customer)
            assert user is not None
            found = for_customer(state, user, wish)
        if [_row(one) for one in found] != [_row_of_table(row) for row in expected[COLUMNS].to_dict("records")]:
            odd.append(customer)
    return listed["customer_id"].nunique(), odd


def _listed(pairs: Sequence[str]) -> pd.DataFrame:
    return pd.read_parquet(_root(pairs) / "recommendations.parquet").sort_values("rank")


def _row(one: Product) -> dict[str, Any]:
    sources = ", ".join(f"{name} {rank}" for name, rank in one.sources) or None
    return {**{name: getattr(one, name) for name in COLUMNS}, "sources": sources}


def _row_of_table(row: dict[str, Any]) -> dict[str, Any]:
    """An answer has no facts that say nothing."""
    facts = {name: value for name, value in row["reason_facts"].items() if value is not None}
    return {**row, "reason_facts": facts}


def _root(pairs: Sequence[str]) -> Path:
    return Path(load_config(pairs=pairs).paths.processed)


def _make_best(storage: Storage, config: Any, name: str) -> None:
    """Let the evaluation say that a model is the best."""
    io = StageIO(replace(evaluate.STAGE, reads=(EVALUATION,)), storage, config)
    told = io.read_json(EVALUATION)
    io.write_json(EVALUATION, {**told, "best": dict.fromkeys(told["best"], name)})
