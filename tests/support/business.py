"""Rules of the business over a finished run, as its users set them: what they do to lists, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd

_RULES = ("--set", "recommend.eligibility.table=stock.csv", "--set", "recommend.excluded_codes=[10003]")


def check_rules(shop: Path, recsys: Callable[..., CompletedProcess[str]]) -> None:
    """shop: the folder of a run in `run`; recsys: runs the console script there."""
    run = shop / "run" / "current"
    (shop / "stock.csv").write_text("stock_code,stock,withdrawn\n10001,0,no\n10004,5,yes\n10020,7,no\n")
    told = recsys(shop, "recommend", *_RULES, "--set", "recommend.top_n=5")
    assert told.returncode == 0, told.stderr
    found = pd.read_parquet(run / "recommendations.parquet")
    assert not set(found["stock_code"]) & {"10001", "10003", "10004"}
    assert found.groupby("customer_id").size().eq(5).all()
    assert all(f"removed_{rule} " in told.stderr for rule in ("excluded_codes", "withdrawn", "out_of_stock"))
    manifest = run / "recommendations.parquet.manifest.json"
    made = manifest.read_text()
    assert any(name.endswith("stock.csv") for name in json.loads(made)["inputs"])

    cost = recsys(shop, "recommend", "--what-if", *_RULES, "--out", str(shop / "cost.json"))
    assert cost.returncode == 0, cost.stderr
    assert "per_positive recall@20" in cost.stdout
    of_all = json.loads((shop / "cost.json").read_text())["protocols"]["all_items"]
    recall = of_all["metrics"]["per_positive"]["recall@20"]
    evaluation = json.loads((run / "evaluation.json").read_text())
    models = evaluation["split"]["test"]["protocols"]["all_items"]["models"]
    assert recall["before"] == models[evaluation["best"]["all_items"]]["per_positive"]["recall@20"]
    assert recall["after"] < recall["before"]
    assert of_all["removed"]["removed_withdrawn"] > 0
    assert manifest.read_text() == made  # nothing was recommended anew
