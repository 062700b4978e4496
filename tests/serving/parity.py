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
from recsys_spark.serving.answers import Listed, Wish, basket_of, for_basket, for_customer
from recsys_spark.serving.prepare import prepare
from recsys_spark.serving.state import State
from recsys_spark.stage import StageIO, run_stage
from recsys_spark.storage import Storage

NEW, BASKET = "someone new", {"10003": 2.0, "10011": 1.0, "10005": 4.0}
COLUMNS = ["stock_code", "description", "score", "reason", "model", "sources"]


def served_against_listed(
    spark: SparkSession, overlays: Sequence[str], pairs: Sequence[str], folder: Path, headers: Sequence[str]
) -> tuple[int, list[str]]:
    """How many customers were held against their list, one that comes with a basket among them, and who differs.

    Both stages are made the best model. The basket comes to `recommend` as lines of the time of the last event.
    """
    new = folder / "new.csv"
    with new.open("w", newline="", encoding="utf-8") as file:
        last = pd.read_parquet(_root(pairs) / "interactions_clean.parquet")["invoice_date"].max().isoformat()
        lines = [["N1", code, "item", int(count), last, "12.5", NEW, "UK"] for code, count in BASKET.items()]
        csv.writer(file).writerows([headers, *lines])
    wish = Wish(k=12, share_new=0.4)
    asked = [f"recommend.new_lines=[{new}]", f"recommend.top_n={wish.k}", f"recommend.share_new={wish.share_new}"]
    asked.append("recommend.excluded_codes=[10001]")
    config = load_config(overlays, [*pairs, *asked])
    storage = Storage(config.paths.processed, spark)
    _make_best(storage, config, "two_stage")
    run_stage(recommend.STAGE, config, storage)
    listed = pd.read_parquet(_root(pairs) / "recommendations.parquet").sort_values("rank")
    served = served_by(config)
    state = State.open(prepare(served, storage), served, "run")
    assert state.card.num_offers > 0
    recent_days, odd = config.baselines.recent_days, []
    for customer, expected in listed.groupby("customer_id"):
        if customer == NEW:
            items, quantities, unknown = basket_of(state, list(BASKET.items()))
            assert not unknown
            found = for_basket(state, items, quantities, wish, recent_days)
        else:
            user = state.customers.find(customer)
            assert user is not None
            found = for_customer(state, user, wish, recent_days)
        if [_row(one) for one in found] != expected[COLUMNS].to_numpy().tolist():
            odd.append(customer)
    return listed["customer_id"].nunique(), odd


def _row(one: Listed) -> list[Any]:
    sources = ", ".join(f"{name} {rank}" for name, rank in one.sources) or None
    return [one.stock_code, one.description, one.score, one.reason, one.model, sources]


def _root(pairs: Sequence[str]) -> Path:
    return Path(load_config(pairs=pairs).paths.processed)


def _make_best(storage: Storage, config: Any, name: str) -> None:
    """Let the evaluation say that a model is the best."""
    io = StageIO(replace(evaluate.STAGE, reads=(EVALUATION,)), storage, config)
    told = io.read_json(EVALUATION)
    io.write_json(EVALUATION, {**told, "best": dict.fromkeys(told["best"], name)})
