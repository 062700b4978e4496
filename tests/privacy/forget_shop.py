"""A small shop with a customer who is to be forgotten."""

from __future__ import annotations

import argparse
from pathlib import Path

from jobs import clean, entities, ingest, sequences
from jobs.forget import add_arguments, forget
from recsys_spark.contracts.load_config import load_config
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.ingest.workbook_files import CSV_HEADER, write_text

GONE, OTHERS = "ACME-FORGET-77", ("BETA", "GAMMA", "7")
PREPARATION = (ingest.STAGE, clean.STAGE, entities.STAGE, sequences.STAGE)


def write_shop(path: Path) -> None:
    customers = (GONE, *OTHERS)
    days = [f"2011-03-{day:02d}T12:00:00" for day in range(1, 29)]
    lines = [f"{100 + at},P{at % 5},LAMP,{customers[at % 4]},{day},7,15.3" for at, day in enumerate(days)]
    write_text(path, CSV_HEADER, *lines, f"C9,P1,LAMP,{GONE},{days[0]},-6,-15", f"9,P1,LAMP, {GONE} ,,6,15")


def pairs_for(folder: Path) -> list[str]:
    return [f"paths.processed={folder / 'run'}", f"ingest.sources=[{folder / 'shop.csv'}]"]


def run_stages(spark, folder: Path, stages, *pairs: str) -> Storage:
    config = load_config(pairs=[*pairs_for(folder), *pairs])
    storage = Storage(config.paths.processed, spark)
    for stage in stages:
        run_stage(stage, config, storage)
    return storage


def run_forget(folder: Path, *customers: str, pairs: tuple[str, ...] = ()) -> None:
    given = [word for customer in customers for word in ("--customer", customer)]
    settings = [word for pair in (*pairs_for(folder), *pairs) for word in ("--set", pair)]
    forget(add_arguments(argparse.ArgumentParser()).parse_args([*given, *settings]))
