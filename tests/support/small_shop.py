"""A small shop in a CSV file, and settings with which all stages run on it in about a minute."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.sessions import short_lived_jvm

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "conf" / "workbook.yaml"
HEADERS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "Line Amount", "Customer ID", "Country")


def write_shop(path: Path) -> None:
    """400 lines of 12 customers, each with five own items bought again and again, and some bad lines."""
    draw = random.Random(7)
    lines = []
    for number in range(400):
        customer = number % 12
        code = f"{10_000 + customer * 3 + draw.randrange(5)}"
        time = datetime(2011, 1, 1, 9) + timedelta(hours=6 * number)
        lines.append(
            [number, code, f"item {code}", draw.randrange(1, 9), time.isoformat(), "12.50", f"0{customer}", "UK"]
        )
    bad = [
        ["C9", "10001", "item", "-1", "2011-02-01", "-5", "01", "UK"],
        ["9", "POST", "postage", "1", "2011-02-01", "5", "01", "UK"],
        lines[5],
        ["9", "10001", '=HYPERLINK("x")', "1", "2011-03-01 10:00", "5", "01", "UK"],
        ["9", "10001", "item", "1", "?", "5", "", "UK"],
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADERS, *lines, *bad])


def settings_of(folder: Path, cores: int = 2, partitions: int = 3) -> list[str]:
    """What is set behind conf/workbook.yaml."""
    conf = {
        "spark.master": f"local[{cores}]",
        "spark.sql.shuffle.partitions": partitions,
        "spark.default.parallelism": partitions,
        "spark.ui.enabled": "false",
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": short_lived_jvm(),
        "spark.sql.adaptive.enabled": "false",  # it plans each stage of a job anew
        "spark.sql.codegen.wholeStage": "false",  # compiling takes longer than these few rows
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    }
    pairs = ", ".join(f'{key}: "{value}"' for key, value in conf.items())
    return [
        f"paths.processed={folder / 'run'}",
        f"ingest.sources=[{folder / 'shop.csv'}]",
        f"session.conf={{{pairs}}}",
        "baselines.models=[popularity, personal_frequency, segment_popularity]",
        "baselines.new_items=true",
        "candidates.shard_rows=8000",  # several part files
        "candidates.quotas.user_knn=0",  # fewer fits: each takes seconds however few the rows
        "candidates.quotas.ease=0",
        "candidates.quotas.category_popularity=0",
        "retriever.towers=[all]",
        "retriever.all.dim=8",
        "retriever.all.context=[weekday, recency, showroom]",
        "retriever.all.trend_input=true",
        "retriever.all.max_epochs=2",
        "ranker.hidden=8",
        "ranker.max_epochs=1",
        "ranker.num_seeds=1",
        *([] if find_spec("torch") else ["retriever.towers=[]", "ranker.model=none"]),
    ]


def recsys(folder: Path, *words: str, **session: int) -> subprocess.CompletedProcess[str]:
    """Run the console script as its own process on a root of its own. session: see settings_of."""
    pairs = [word for pair in settings_of(folder, **session) for word in ("--set", pair)]
    command = [sys.executable, "-m", "jobs.pipeline", *words, "--config", str(CONFIG), *pairs]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=1500, check=False
    )


def manifests(root: Path) -> dict[str, dict[str, Any]]:
    """Those below a run's root, by their path there."""
    found = {}
    for path in sorted(root.rglob("*.manifest.json")):
        found[str(path.relative_to(root))] = json.loads(path.read_text())
    return found
