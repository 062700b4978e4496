"""Whether every mean agrees with ranx: 2,000 queries of every model's rankings in finished runs (--run ROOT).

ranx knows neither money nor positives, so each positive becomes a query of its own and is averaged by hand.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pyspark.sql import functions as F
from ranx import Qrels, evaluate
from ranx import Run as RanxRun

from benchmarks.harness import figure, report
from recsys_spark.command_line import storage_of
from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    POSITIVE_RANKS,
    RANKINGS,
    SEQUENCES,
)
from recsys_spark.contracts.columns import K_VALUES, LIST_PROTOCOLS
from recsys_spark.contracts.config import SessionConfig
from recsys_spark.evaluation.facts import customer_activity, hits, positive_facts
from recsys_spark.evaluation.ranking_metrics import METRICS, MONEY, PER_BASKET, PER_POSITIVE
from recsys_spark.evaluation.results import mean
from recsys_spark.evaluation.runs import Run
from recsys_spark.evaluation.summary import collect_sums
from recsys_spark.evaluation.sums import as_cells, customer_hits, customer_totals
from recsys_spark.session import get_session

SPLIT, FIT = "test", "val"
_LABELS = [f"{kind}@{k}" for kind in ("recall", "ndcg", "mrr") for k in K_VALUES]


class Positive(NamedTuple):
    """One positive of a protocol."""

    query: int
    code: str
    amount: float


def ranx_means(positives: Sequence[Positive], lists: Mapping[int, Sequence[str]]) -> dict[tuple[str, str], float]:
    """Every mean by section and label, as ranx finds it. lists: codes by query, best first."""
    run: dict[str, dict[str, float]] = {}
    baskets: dict[str, dict[str, int]] = {}
    singles: dict[str, dict[str, int]] = {}
    for number, positive in enumerate(positives):
        listed = {code: float(-rank) for rank, code in enumerate(lists.get(positive.query, []))} or {"nothing": 0.0}
        baskets.setdefault(str(positive.query), {})[positive.code] = 1
        singles[f"s{number:09}"] = {positive.code: 1}
        run[str(positive.query)] = run[f"s{number:09}"] = listed
    by_basket = evaluate(Qrels(baskets), RanxRun({query: run[query] for query in baskets}), _LABELS)
    by_single = evaluate(Qrels(singles), RanxRun({name: run[name] for name in singles}), _LABELS, return_mean=False)
    amounts = [positive.amount for positive in positives]
    means = {(PER_BASKET, label): float(by_basket[label]) for label in _LABELS}
    for label in _LABELS:
        values = by_single[label]
        means[PER_POSITIVE, label] = float(sum(values)) / len(positives)
        weighted = sum(value * amount for value, amount in zip(values, amounts, strict=True))
        means[MONEY, label] = float(weighted) / sum(amounts)
    return means


def largest_difference(run: Run, model: str, num_queries: int) -> Iterator[float]:
    """The largest difference of any mean to ranx, for each list protocol."""
    items = run.table(ITEM_ID_MAP).withColumnRenamed("item_idx", "pos_item_idx")
    sequences = run.table(SEQUENCES, split=SPLIT)
    sample = sequences.select("query_id").distinct().orderBy(F.xxhash64("query_id"), "query_id").limit(num_queries)
    sequences = sequences.join(sample, on="query_id", how="left_semi")
    activity = customer_activity(run.table(INTERACTIONS_CLEAN), run.table(CUSTOMER_ID_MAP), run.cutoffs()[f"{FIT}_end"])
    facts = positive_facts(sequences, run.table(ITEM_POPULARITY, fit=FIT), activity).persist()
    found = hits(facts, {model: run.table(POSITIVE_RANKS, model=model, split=SPLIT)})
    cells = [as_cells("hits", customer_hits(found)), as_cells("totals", customer_totals(facts))]
    sums = collect_sums(cells, replicates=4, seed=1)
    rankings = run.table(RANKINGS, model=model, split=SPLIT).join(sample, on="query_id", how="left_semi")
    named = facts.join(items, on="pos_item_idx", how="inner").select(
        "protocol", "query_id", "stock_code", "line_amount"
    )
    positives = [tuple(row) for row in named.collect()]
    lists = [(row["protocol"], row["query_id"], row["stock_codes"]) for row in rankings.collect()]
    for protocol in LIST_PROTOCOLS:
        expected = ranx_means(
            [Positive(*rest) for name, *rest in positives if name == protocol],
            {query: codes for name, query, codes in lists if name == protocol},
        )
        values = (mean(sums, model, protocol, metric)[0] - expected[metric.section, metric.label] for metric in METRICS)
        yield float(np.max(np.abs(np.array(list(values), dtype=float))))  # NaN where one is


def main() -> None:
    """Report the largest difference over all runs, models and protocols."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="append", required=True, metavar="ROOT", help="root of a finished run")
    parser.add_argument("--queries", type=int, default=2_000)
    given = parser.parse_args()
    conf = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": "4", "spark.ui.showConsoleProgress": "false"}
    spark = get_session(SessionConfig(app_name="benchmark", conf=conf))
    found = {}
    for root in given.run:
        run = Run(storage_of(root, spark))
        for model in run.models():
            for protocol, value in zip(LIST_PROTOCOLS, largest_difference(run, model, given.queries), strict=True):
                found[f"{root} {model} {protocol}"] = value
    worst = max(found, key=lambda name: math.inf if math.isnan(found[name]) else found[name])
    goal = "<= 0.000000001"
    report("metrics", [figure("metrics.difference_to_ranx", found[worst], goal, worst=worst, differences=found)])


if __name__ == "__main__":
    main()
