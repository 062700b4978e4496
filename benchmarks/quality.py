"""The two stages of a finished run (--run NAME=ROOT) against the best single model of each protocol, chosen on val.

End to end over the whole catalogue, on test. With `--gbdt NAME=ROOT`, a run that differs by `ranker.model: lambdarank`
alone, RankerMLP is held against LightGBM. Intervals are paired, by Poisson bootstrap over customers.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from benchmarks.harness import Figure, figure, report
from recsys_spark.command_line import storage_of
from recsys_spark.contracts.artifacts import RANKER_FEATS, SPLIT_OF_FIT
from recsys_spark.contracts.config import EvaluationConfig, SessionConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.ranker_config import TWO_STAGE
from recsys_spark.evaluation.compare import compare_runs
from recsys_spark.evaluation.ranking_metrics import PER_BASKET, PER_POSITIVE
from recsys_spark.evaluation.runs import Run
from recsys_spark.session import get_session

GOALS = (  # protocol, section, metric, how many times the best single model's
    ("all_items", PER_POSITIVE, "ndcg@20", 1.05),
    ("all_items", PER_BASKET, "recall@20", 1.05),
    ("first_purchase", PER_POSITIVE, "recall@20", 1.10),
)


def against_best_single(evaluation: Mapping[str, Any], name: str) -> list[Figure]:
    """Two figures for each goal, the ratio and the lower end of the difference's interval: both must hold.

    The detail has both values, the paired interval and the loss waterfall.
    """
    found = []
    for protocol, section, metric, goal in GOALS:
        result = evaluation["split"]["test"]["protocols"][protocol]
        both, single = result["models"][TWO_STAGE], result["models"][result["reference"]]
        moved, what = both["difference"][section][metric], f"{section}.{metric}.{protocol}.{name}"
        told = {
            "best_single": result["reference"],
            "two_stage": both[section][metric],
            "single": single[section][metric],
            "difference": moved["estimate"],
            "interval": moved["interval"],
            "waterfall": both["waterfall"],
        }
        ratio = both[section][metric] / single[section][metric]
        found.append(figure(f"quality.{what}", ratio, f">= {goal}", **told))
        # A ratio that chance could have made is no success, so the lower end has a goal of its own.
        found.append(figure(f"quality.lower_end.{what}", moved["interval"][0], "> 0", **told))
    return found


def against_gbdt(gbdt: Run, mlp: Run, name: str) -> list[Figure]:
    """The upper end of the interval of what RankerMLP gains over LightGBM: the interval must not lie below zero.

    Raises DataError where the rankers were not trained and judged on the same shards.
    """
    _require_equal_shards(gbdt, mlp)
    protocols, found = compare_runs(gbdt, mlp, EvaluationConfig(), seed=1)["protocols"], []
    for protocol, section, metric, _ in GOALS:
        moved = protocols[protocol][TWO_STAGE][section][metric]
        figure_name = f"quality.mlp_minus_gbdt.upper_end.{section}.{metric}.{protocol}.{name}"
        found.append(figure(figure_name, moved["interval"][1], ">= 0", **moved))
    return found


def _require_equal_shards(first: Run, second: Run) -> None:
    for part in ("train", "dev", *SPLIT_OF_FIT.values()):
        label = RANKER_FEATS.path_of(part=part)
        own, other = (one.storage.manifest(label) for one in (first, second))
        if own is None or other is None or own.content != other.content:
            roots = f"{first.storage.root} and {second.storage.root}"
            raise DataError(f"{label} of {roots} differ or are missing: their rankers learned from different rows")


def _named(values: list[str]) -> dict[str, str]:
    return dict(value.split("=", 1) for value in values)


def main() -> None:
    """Report the figures of all runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="append", required=True, metavar="NAME=ROOT")
    parser.add_argument("--gbdt", action="append", default=[], metavar="NAME=ROOT")
    given = parser.parse_args()
    runs, peers = _named(given.run), _named(given.gbdt)
    conf = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": "4", "spark.ui.showConsoleProgress": "false"}
    figures = []
    for name, root in runs.items():
        figures += against_best_single(Run(storage_of(root)).evaluation(), name)
        if name in peers:
            spark = get_session(SessionConfig(app_name="benchmark", conf=conf))
            gbdt, mlp = (Run(storage_of(each, spark)) for each in (peers[name], root))
            figures += against_gbdt(gbdt, mlp, name)
    report("quality", figures)


if __name__ == "__main__":
    main()
