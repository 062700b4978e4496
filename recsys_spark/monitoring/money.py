"""Money in the lists: which share of what was bought stood in the top K, week by week, beside the popularity list's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    POSITIVE_RANKS,
    RECOMMENDATIONS,
    SEQUENCES,
)
from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.evaluation.bootstrap import read_sums, resampled_sums
from recsys_spark.evaluation.exact import exact_sum
from recsys_spark.evaluation.facts import judged
from recsys_spark.evaluation.intervals import percentile_interval
from recsys_spark.evaluation.protocols import ALL_ITEMS
from recsys_spark.evaluation.results import quotient
from recsys_spark.monitoring.measures import Measure, above, below, certain, not_measured, told
from recsys_spark.monitoring.runs import SeenRun, lacks

GROUP = "money"
POPULARITY = "popularity"
_ALL = "all"  # weeks together
_VALUES = ("captured", "popular", "total")  # money in the top K of the model, of the popularity list, and in all
Sums = dict[tuple[str, str], np.ndarray]  # (1 + replicates, values) by side and week


def period_measures(
    reference: SeenRun, current: SeenRun, config: MonitorConfig, evaluation: EvaluationConfig, seed: int
) -> list[Measure]:
    """Of the test queries of two runs: how much their best models capture, and the current run's uplift."""
    gone = lacks(reference, current, SEQUENCES, split="test") or lacks(reference, current, CUSTOMER_ID_MAP)
    if gone:
        return [not_measured(GROUP, "captured", gone)]
    sides = {}
    for side, run in {"reference": reference, "current": current}.items():
        best = run.best_model(ALL_ITEMS)
        models = (best, POPULARITY)
        if best is None or not all(run.has(POSITIVE_RANKS, model=str(m), split="test") for m in models):
            return [
                not_measured(GROUP, "captured", f"the {side} run has no ranks of its best model and of {POPULARITY}")
            ]
        sides[side] = captured_of_positives(run, best, config.top_k)
    sums = weekly_sums(sides, evaluation.replicates, seed)
    lacking = [side for side in sides if (side, _ALL) not in sums or not sums[side, _ALL][0, 2]]
    if lacking:
        return [
            not_measured(GROUP, "captured", f"no money was spent in the test of the {' and the '.join(lacking)} run")
        ]
    return [captured_change(sums, config), uplift(sums, "current", config)]


def new_measures(
    run: SeenRun, lines: DataFrame, config: MonitorConfig, evaluation: EvaluationConfig, seed: int
) -> list[Measure]:
    """Of new lines: how much of their money stood in the run's recommendations, and the uplift."""
    if not (run.has(RECOMMENDATIONS) and run.has(ITEM_POPULARITY, fit="full")):
        return [not_measured(GROUP, "new_captured", "the run has no recommendations")]
    listed = run.table(RECOMMENDATIONS)
    longest = listed.agg(F.max("rank").alias("rank")).first()
    assert longest is not None  # an aggregate without keys has one row
    config = replace(config, top_k=min(config.top_k, longest["rank"] or config.top_k))  # lists of one length compare
    popular = most_popular(run.table(ITEM_POPULARITY, fit="full"), run.table(ITEM_ID_MAP), config.top_k)
    bought = captured_of_lines(lines, listed, popular, config.top_k)
    sums = weekly_sums({"new": bought}, evaluation.replicates, seed)
    if ("new", _ALL) not in sums or not sums["new", _ALL][0, 2]:
        return [not_measured(GROUP, "new_captured", "there is no money in the new lines")]
    share, low, high = _share(sums["new", _ALL])
    sentence = f"the top {config.top_k} of the lists held {share:.1%} of the new money (95 %: {low:.1%} to {high:.1%})"
    return [
        told(GROUP, "new_captured", share, sentence, interval=[low, high]),
        uplift(sums, "new", config, prefix="new_"),
    ]


def captured_of_positives(run: SeenRun, model: str, k: int) -> DataFrame:
    """One row per test positive that the run's evaluation judged: customer_id, time and money in the three _VALUES."""
    key = ["query_id", "pos_item_idx"]
    positives = judged(run.table(SEQUENCES, split="test"), "test", run.test_end())
    bought = positives.select(*key, "user_idx", F.col("event_time").alias("time"), "line_amount")
    found = bought
    for name, one in zip(_VALUES, (model, POPULARITY), strict=False):
        ranks = run.table(POSITIVE_RANKS, model=one, split="test").filter(F.col("protocol") == ALL_ITEMS)
        inside = ranks.filter(F.col("rank") <= k).select(*key, F.lit(True).alias(f"in_{name}"))
        found = found.join(inside, on=key, how="left")
    named = found.join(run.table(CUSTOMER_ID_MAP), on="user_idx", how="inner")
    return named.select("customer_id", "time", *_money("line_amount"))


def captured_of_lines(lines: DataFrame, recommendations: DataFrame, popular: DataFrame, k: int) -> DataFrame:
    """The same of lines (INTERACTIONS_CLEAN). popular: stock_code of the most popular products, a few."""
    listed = recommendations.filter(F.col("rank") <= k).select(
        "customer_id", "stock_code", F.lit(True).alias("in_captured")
    )
    best = popular.select("stock_code", F.lit(True).alias("in_popular"))
    found = lines.join(listed, on=["customer_id", "stock_code"], how="left").join(
        F.broadcast(best), on="stock_code", how="left"
    )
    return found.select("customer_id", F.col("invoice_date").alias("time"), *_money("line_amount"))


def most_popular(popularity: DataFrame, item_ids: DataFrame, k: int) -> DataFrame:
    """stock_code of the k products with most events (ITEM_POPULARITY), ties by index."""
    first = popularity.orderBy(F.desc("num_events"), "item_idx").limit(k)
    return first.join(item_ids, on="item_idx", how="inner").select("stock_code")


def weekly_sums(sides: Mapping[str, DataFrame], replicates: int, seed: int) -> Sums:
    """Sums of the three kinds of money by side and week, and over all weeks, with their bootstrap over customers.

    A customer counts as often in every side, so differences between sides are paired.
    """
    user = F.xxhash64("customer_id").alias("user_idx")
    cells = [
        _cells(bought, user, F.concat_ws("\t", F.lit(side), week))
        for side, bought in sides.items()
        for week in (F.date_format(F.date_trunc("week", "time"), "yyyy-MM-dd"), F.lit(_ALL))
    ]
    resampled = resampled_sums(reduce(DataFrame.unionByName, cells), replicates, seed).orderBy("cell")
    # One row per side and week.
    return {tuple(row["cell"].split("\t")): read_sums(row["sums"], replicates) for row in resampled.collect()}


def captured_change(sums: Sums, config: MonitorConfig) -> Measure:
    """The loss of the captured share from the reference to the current run, over what it was."""
    both = [quotient(sums[side, _ALL][:, 0], sums[side, _ALL][:, 2]) for side in ("reference", "current")]
    first, second = (float(side[0]) for side in both)
    if not first:
        return not_measured(GROUP, "captured", "the reference run captured no money")
    low, high = percentile_interval((both[1] - both[0])[1:])
    sentence = (
        f"the top {config.top_k} of the test lists held {first:.1%} of the money in the reference, {second:.1%} in the "
        f"current run (95 % of the change: {low:+.1%} to {high:+.1%})"
    )
    measure = above(
        GROUP,
        "captured",
        1 - second / first,
        config.thresholds.money_drop,
        sentence,
        interval=[low, high],
        weeks={side: _weeks(sums, side) for side in ("reference", "current")},
    )
    return certain(measure, high < 0)


def uplift(sums: Sums, side: str, config: MonitorConfig, prefix: str = "") -> Measure:
    """Share captured minus the popularity list's."""
    money = sums[side, _ALL]
    gained = quotient(money[:, 0] - money[:, 1], money[:, 2])
    low, high = percentile_interval(gained[1:])
    popular = float(money[0, 1] / money[0, 2])
    sentence = (
        f"the lists hold {100 * gained[0]:+.1f} points of the money beside the {config.top_k} most popular "
        f"products, which hold {popular:.1%} (95 %: {low:+.1%} to {high:+.1%})"
    )
    limit = config.thresholds.money_uplift
    weeks = {side: _weeks(sums, side)}
    return below(GROUP, f"{prefix}uplift", float(gained[0]), limit, sentence, interval=[low, high], weeks=weeks)


def _weeks(sums: Sums, side: str) -> list[dict[str, Any]]:
    """By week, which begins on a Monday: the money, and the shares of it in the lists and in the popularity list."""
    found = []
    for (own, week), money in sorted(sums.items()):
        if own == side and week != _ALL and money[0, 2]:
            captured, popular, total = money[0]
            low, high = percentile_interval(quotient(money[:, 0], money[:, 2])[1:])
            shares = {"captured": captured / total, "popular": popular / total, "interval": [low, high]}
            found.append({"week": week, "money": round(float(total), 2), **shares})
    return found


def _share(money: np.ndarray) -> tuple[float, float, float]:
    shares = quotient(money[:, 0], money[:, 2])
    return (float(shares[0]), *percentile_interval(shares[1:]))


def _money(amount: str) -> Sequence[Column]:
    money = F.col(amount).cast("double")
    listed = [F.when(F.col(f"in_{name}"), money).otherwise(0.0).alias(name) for name in _VALUES[:-1]]
    return [*listed, money.alias(_VALUES[-1])]


def _cells(bought: DataFrame, user: Column, cell: Column) -> DataFrame:
    summed = bought.groupBy(user, cell.alias("cell")).agg(*(exact_sum(F.col(name)).alias(name) for name in _VALUES))
    return summed.select("user_idx", "cell", F.array(*_VALUES).alias("values"))
