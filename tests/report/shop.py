"""A small shop with English and Arabic names, and its artifacts by the real stages."""

from __future__ import annotations

import csv
import random
from datetime import datetime, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.pipeline import STAGES
from recsys_spark.contracts.load_config import load_config
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage

HEADERS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "Line Amount", "Customer ID", "Category")
WITHOUT_STAGE_TWO = ("ingest", "clean", "entities", "sequences", "baselines", "evaluate", "recommend", "report")
HOSTILE = '<script>alert("x")</script> $a_b$'
ARABIC = "مصباح يدوي"
SETTINGS = (
    "baselines.models=[popularity, personal_frequency]",
    "retriever.towers=[]",
    "ranker.model=none",
    "evaluation.replicates=100",
)


def write_shop(path: Path, num_lines: int = 360) -> None:
    """Lines of 12 customers that buy again and again, now and then something new; two names are Arabic or hostile."""
    draw = random.Random(5)
    lines = []
    for number in range(num_lines):
        code = 10 + (number % 12) * 2 + draw.randrange(4) + number // 45  # habits move on, so there are first purchases
        name = {12: ARABIC, 13: HOSTILE.upper()}.get(code, f"item {code}")
        time = datetime(2011, 1, 1, 9) + timedelta(hours=7 * number)
        money = f"{1.25 * (1 + code % 7):.2f}"
        category = "CUPS/MUGS" if code % 2 else "أكواب"
        lines.append([number, code, name, 1 + number % 3, time.isoformat(), money, f"0{number % 12}", category])
    bad = [
        ["C9", "10", ARABIC, "-1", "2011-02-01", "-5", "01", ""],
        ["9", "10", "item", "1", "?", "5", "01", ""],
        ["9", "10", HOSTILE, "0", "2011-02-01", "5", "01", ""],
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADERS, *lines, *bad])


def run_shop(spark: SparkSession, folder: Path, *pairs: str, stages: tuple[str, ...] = WITHOUT_STAGE_TWO) -> Path:
    """Run the stages on the shop in the folder, which is written first; returns the root of the run."""
    root = folder / "run"
    if not (folder / "shop.csv").exists():
        write_shop(folder / "shop.csv")
    config = load_config(
        pairs=[f"paths.processed={root}", f"ingest.sources=[{folder / 'shop.csv'}]", *SETTINGS, *pairs]
    )
    storage = Storage(str(root), spark)
    for stage in STAGES:
        if stage.name in stages:
            run_stage(stage, config, storage)
    return root
