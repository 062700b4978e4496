"""Towers that differ from the default in one setting each, by Recall@20 and @100 on the dev slice of a finished run.

Every tower learns from fit `early` of the run (--run ROOT) and is measured on the training queries after it, so that
nothing of val and test is looked at; without Spark. Prints a table for each protocol: the mean over seeds, and how far
it is from the default with the same seed, the nearest and the farthest. A run holds context and side features where one
of its towers is set to use them; without them these settings change nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from statistics import mean
from typing import Any

from tqdm import tqdm

from benchmarks.harness import command
from jobs.train_retriever import STAGE, job_of
from recsys_spark.command_line import storage_of
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.load_config import load_config
from recsys_spark.contracts.retriever_config import SIDE_FEATURES, TowerConfig
from recsys_spark.retriever.inputs import EARLY, FitInputs
from recsys_spark.stage import StageIO
from recsys_spark.storage import Storage
from training.files import read_table
from training.retriever.train import train_retriever

CUTS = ("recall@20", "recall@100")
TOWER_OF = dict(zip(LIST_PROTOCOLS, ("all", "first"), strict=True))
CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "pooling: mean": {"pooling": "mean"},
    "pooling: attention": {"pooling": "attention"},
    "decay_days: 30": {"decay_days": 30.0},
    "decay_days: 365": {"decay_days": 365.0},
    "user_tower: id": {"user_tower": "id"},
    "user_tower: both": {"user_tower": "both"},
    "tied: false": {"tied": False},
    "dim: 64": {"dim": 64},
    "dim: 128": {"dim": 128},
    "num_blocks: 1": {"num_blocks": 1},
    "num_blocks: 2": {"num_blocks": 2},
    "start: random": {"start": "random"},
    "trend: false": {"trend": False},
    "trend_input: true": {"trend_input": True},
    "context: month, weekday, recency": {"context": ("month", "weekday", "recency")},
    "side_features: all": {"side_features": SIDE_FEATURES},
    "loss: per_example": {"loss": "per_example", "num_negatives": 128},
    "log_q: false": {"log_q": False},
    "num_negatives: 256": {"num_negatives": 256},
    "num_negatives: 4096": {"num_negatives": 4096},
    "targets: new": {"targets": "new"},
    "basket_exponent: 0": {"basket_exponent": 0.0},
    "basket_exponent: 1": {"basket_exponent": 1.0},
    "temperature: 0.07": {"temperature": 0.07},
    "temperature: 0.10": {"temperature": 0.1},
    "temperature: 0.15": {"temperature": 0.15},
    "temperature: 0.20": {"temperature": 0.2},
    "learn_temperature: true": {"learn_temperature": True},
    "learning_rate: 0.002": {"learning_rate": 0.002},
    "learning_rate: 0.01": {"learning_rate": 0.01},
    "batch_size: 128": {"batch_size": 128},
    "weight_decay: 0": {"weight_decay": 0.0},
}


def measured(storage: Storage, config: PipelineConfig, name: str, tower: TowerConfig, seed: int) -> dict[str, float]:
    """The dev metrics of the epoch that is chosen, of a tower with these settings. name: of the tower it stands for."""
    changes: dict[str, Any] = {name: tower}
    config = replace(config, seed=seed, retriever=replace(config.retriever, engine="arrow", tracking="none", **changes))
    io = StageIO(STAGE, storage, config)
    periods = read_table(io.path(artifacts.ITEM_SALES, fit=EARLY), ["period"]).column("period").to_numpy()
    inputs = FitInputs(EARLY, num_periods=int(periods.max()) + 1)
    with tempfile.TemporaryDirectory() as folder:
        trained = train_retriever(job_of(io, config, inputs, name, (f"{folder}/out", f"{folder}/checkpoints")))
    best = trained["curve"][trained["best_epoch"] - 1]
    return {cut: best[cut] for cut in CUTS}


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: each change with the mean of each metric and its differences from the default."""
    head = [f"{cut} | against the default" for cut in CUTS]
    lines = [f"| setting | {' | '.join(head)} |", f"|---|{'---|' * (2 * len(CUTS))}"]
    for name, seeds in found.items():
        cells = []
        for cut in CUTS:
            moved = [one[cut] - other[cut] for one, other in zip(seeds, found["default"], strict=True)]
            apart = "" if name == "default" else f"{min(moved):+.4f} to {max(moved):+.4f}"
            cells += [f"{mean(one[cut] for one in seeds):.4f}", apart]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, metavar="ROOT")
    parser.add_argument("--config", action="append", default=[], metavar="FILE", help="overlay with the defaults")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the defaults")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], metavar="CHANGE", help=", ".join(CHANGES))
    parser.add_argument("--protocol", action="append", default=[], choices=LIST_PROTOCOLS)
    given = parser.parse_args()
    storage, config = storage_of(given.run), load_config(given.config, given.set)
    names = ["default", *(name for name in given.only or CHANGES if name != "default")]
    print(f"`{command()}`")
    for protocol in given.protocol or LIST_PROTOCOLS:
        default = config.retriever.tower(TOWER_OF[protocol])
        found: dict[str, list[dict[str, float]]] = {}
        for name in tqdm(names, desc=protocol):
            tower = replace(default, **CHANGES[name])
            if name == "default" or tower != default:
                seeds = range(1, given.seeds + 1)
                found[name] = [measured(storage, config, TOWER_OF[protocol], tower, seed) for seed in seeds]
        print(f"\n{protocol}\n\n{table(found)}\n", flush=True)


if __name__ == "__main__":
    main()
