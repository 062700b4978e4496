"""Whether every mean of evaluation.json agrees with ranx: all rankings of finished runs (--run ROOT), scored again.

ranx knows neither money nor positives, so each positive becomes a query of its own and is averaged by hand.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import functions as F
from ranx import Qrels, evaluate
from ranx import Run as RanxRun

from benchmarks.harness import figure, report
from recsys_spark.command_line import storage_of
from recsys_spark.contracts.artifacts import ITEM_ID_MAP, RANKINGS, SEQUENCES
from recsys_spark.contracts.columns import K_VALUES, LIST_PROTOCOLS
from recsys_spark.contracts.config import SessionConfig
from recsys_spark.evaluation.facts import judged
from recsys_spark.evaluation.protocols import FIRST_PURCHASE
from recsys_spark.evaluation.ranking_metrics import METRICS, MONEY, PER_BASKET, PER_POSITIVE, metric_of
from recsys_spark.evaluation.runs import Run
from recsys_spark.session import get_session

_LABELS = [f"{kind}@{k}" for kind in ("recall", "ndcg", "mrr") for k in K_VALUES]
_AT_A_TIME = 20_000  # queries of which ranx holds its own tables
Means = dict[tuple[str, str], float]  # by section and label
Lists = Mapping[int, Sequence[str]]  # codes by query, best first


class Positive(NamedTuple):
    """One positive of a protocol."""

    query: int
    code: str
    amount: float


def ranx_means(positives: Sequence[Positive], lists: Lists) -> Means:
    """Every mean as ranx finds it."""
    baskets: dict[int, list[str]] = defaultdict(list)
    for query, code, _ in positives:
        baskets[query].append(code)
    listed = [(codes, lists.get(query, [])) for query, codes in baskets.items()]
    # Of a list with one relevant item, what stands behind it changes no metric.
    singles = [([code], _up_to(code, lists.get(query, []))) for query, code, _ in positives]
    amounts = np.array([positive.amount for positive in positives])
    by_basket, by_single = _values(listed), _values(singles)
    means = {(PER_BASKET, label): float(by_basket[label].mean()) for label in _LABELS}
    for label, values in by_single.items():
        means[PER_POSITIVE, label] = float(values.mean())
        means[MONEY, label] = float(values @ amounts / amounts.sum())
    return means


def _up_to(code: str, codes: Sequence[str]) -> Sequence[str]:
    return codes[: codes.index(code) + 1] if code in codes else []


def _values(asked: Sequence[tuple[Sequence[str], Sequence[str]]]) -> dict[str, np.ndarray]:
    """Metrics of queries by label, each (Q,). asked: what is relevant to each, and its list."""
    parts: dict[str, list[np.ndarray]] = {label: [] for label in _LABELS}
    for first in range(0, len(asked), _AT_A_TIME):
        part = asked[first : first + _AT_A_TIME]
        qrels = {f"{number:09}": dict.fromkeys(relevant, 1) for number, (relevant, _) in enumerate(part)}
        run = {f"{number:09}": _scores(codes) for number, (_, codes) in enumerate(part)}
        found = evaluate(Qrels(qrels), RanxRun(run), _LABELS, return_mean=False)
        for label in _LABELS:
            parts[label].append(found[label])
    return {label: np.concatenate(arrays) for label, arrays in parts.items()}


def _scores(codes: Sequence[str]) -> dict[str, float]:
    return {code: float(-rank) for rank, code in enumerate(codes)} or {"": 0.0}  # ranx takes no empty list


def differences(run: Run, split: str, protocols: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Each model and protocol of a split with the largest difference of any of its means to ranx.

    protocols: of the split, as evaluation.json has them.
    """
    items = run.table(ITEM_ID_MAP).withColumnRenamed("item_idx", "pos_item_idx")
    sequences = judged(run.table(SEQUENCES, split=split), split, run.test_end())
    named = sequences.join(items, on="pos_item_idx", how="inner")
    columns = ("query_id", "stock_code", "line_amount", "is_repeat")
    rows = [tuple(row) for row in named.select(*columns).orderBy("query_id", "stock_code").collect()]
    for protocol in LIST_PROTOCOLS:
        positives = [Positive(*rest) for *rest, is_repeat in rows if not (is_repeat and protocol == FIRST_PURCHASE)]
        if not positives:
            continue  # there is nothing to average
        for model, means in protocols[protocol]["models"].items():
            rankings = run.table(RANKINGS, model=model, split=split).filter(F.col("protocol") == protocol)
            lists = {
                row["query_id"]: row["stock_codes"] for row in rankings.select("query_id", "stock_codes").collect()
            }
            expected = ranx_means(positives, lists)
            told = np.array(
                [metric_of(means, one) for one in METRICS], dtype=float
            )  # NaN for null, which ranx never finds
            gaps = told - [expected[one.section, one.label] for one in METRICS]
            yield f"{split} {model} {protocol}", float(np.max(np.abs(gaps)))  # NaN where one is


def main() -> None:
    """Report the largest difference over all runs, splits, models and protocols."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="append", required=True, metavar="ROOT", help="root of a finished run")
    given = parser.parse_args()
    conf = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": "4", "spark.ui.showConsoleProgress": "false"}
    spark = get_session(SessionConfig(app_name="benchmark", conf={**conf, "spark.driver.memory": "4g"}))
    found: dict[str, float] = {}
    for root in given.run:
        run = Run(storage_of(root, spark))
        for split, result in run.evaluation()["split"].items():
            found |= {f"{root} {name}": value for name, value in differences(run, split, result["protocols"])}
    worst = max(found, key=lambda name: math.inf if math.isnan(found[name]) else found[name])
    goal = "<= 0.000000001"
    report("metrics", [figure("metrics.difference_to_ranx", found[worst], goal, worst=worst, differences=found)])


if __name__ == "__main__":
    main()
