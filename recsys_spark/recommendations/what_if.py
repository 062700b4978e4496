"""What the rules cost: the test rankings of the best model under the rules, beside the same without them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints, pair_keys
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.ranking import Lists
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.evaluation.intervals import paired_differences
from recsys_spark.evaluation.protocols import ALL_ITEMS, FIRST_PURCHASE
from recsys_spark.evaluation.ranking_metrics import HEADLINE, METRICS
from recsys_spark.evaluation.results import mean, plain
from recsys_spark.evaluation.sums import Sums
from recsys_spark.recommendations.lists import excluded_keys
from recsys_spark.recommendations.policy import Asked, Policy, entries_of, make_lists, offered
from recsys_spark.recommendations.rules import RULES, ItemRules

BEFORE, AFTER = "before", "after"
K = HEADLINE.k  # a list's first places do not depend on how many follow
_RULED = "query_id bigint, protocol string, stock_codes array<string>, passed_over array<bigint>, missing bigint"


@dataclass(frozen=True)
class Ruler:
    """What rules rankings, as it travels to the tasks. rules, codes: load the rules of items and the stock codes by
    item_idx inside the task; popularity: of the fit that ranked, for what stands behind the rankings.
    """

    policy: Policy
    rules: Callable[[], ItemRules]
    codes: Callable[[], pa.Array]
    popularity: FittedPopularity


def ruled_rankings(rankings: DataFrame, bought: DataFrame, ruler: Ruler) -> DataFrame:
    """The first places of each ranking under the rules: query_id, protocol, stock_codes, and what was passed_over.

    rankings: RANKINGS of one model; bought: query_id, micros, bought (item_idx before the query) and, where there are
    any, excluded (item_idx that are not for the customer).
    """
    lists = [
        F.first(F.when(F.col("protocol") == protocol, F.col("stock_codes")), ignorenulls=True).alias(protocol)
        for protocol in LIST_PROTOCOLS
    ]
    by_query = rankings.groupBy("query_id").agg(*lists).join(bought, on="query_id", how="inner")
    return by_query.mapInArrow(partial(ruled_batches, ruler=ruler), _RULED)


def bought_before(queries: DataFrame, histories: DataFrame) -> DataFrame:
    """query_id, customer_id, micros and bought: the distinct item_idx that the customer bought before the query.

    A row holds its customer's history once per query, as long as the queries' histories together.
    """
    micros = F.unix_micros("event_time")
    asked = queries.select("query_id", "user_idx", "customer_id", micros.alias("query_micros"))
    held = asked.join(histories.select("user_idx", "items", "micros"), on="user_idx", how="inner")
    earlier = F.filter(F.arrays_zip("items", "micros"), lambda event: event["micros"] < F.col("query_micros"))
    items = F.array_distinct(F.transform(earlier, lambda event: event["items"]))
    return held.select("query_id", "customer_id", F.col("query_micros").alias("micros"), items.alias("bought"))


def ruled_batches(batches: Iterable[pa.RecordBatch], ruler: Ruler) -> Iterator[pa.RecordBatch]:
    """The kernel of `ruled_rankings`."""
    popular = ruler.popularity.order(by_recent=True)
    for arrow in batches:
        if not arrow.num_rows:
            continue
        rows = np.arange(arrow.num_rows)
        owner, items = _flat(arrow.column("bought"))
        asked = Asked(arrow.column("micros").to_numpy(), np.sort(pair_keys(owner, items)), excluded_keys(arrow, rows))
        codes = ruler.codes()
        ranked = {protocol: _lists(arrow.column(protocol), protocol, codes) for protocol in LIST_PROTOCOLS}
        of_all = offered(ranked[ALL_ITEMS], ranked[FIRST_PURCHASE], asked, ruler.policy.share_new, popular)
        of_new = entries_of(ranked[FIRST_PURCHASE], asked)
        only_new = replace(ruler.policy, share_new=None)
        for protocol, entries, policy in ((ALL_ITEMS, of_all, ruler.policy), (FIRST_PURCHASE, of_new, only_new)):
            is_new = protocol == FIRST_PURCHASE
            listed = make_lists(entries, asked, policy, ruler.rules(), popular, new_only=is_new)
            sizes = np.bincount(listed.chosen.rows, minlength=len(rows))
            columns = [
                arrow.column("query_id"),
                pa.array([protocol] * len(rows), pa.string()),
                pa.ListArray.from_arrays(_offsets(sizes), codes.take(pa.array(listed.chosen.items))),
                pa.ListArray.from_arrays(
                    _offsets(np.full(len(rows), len(RULES))), pa.array(listed.passed_over.ravel())
                ),
                pa.array(policy.top_n - sizes),
            ]
            yield pa.RecordBatch.from_arrays(columns, names=[part.split()[0] for part in _RULED.split(", ")])


def cost_of_rules(sums: Sums, models: Mapping[str, str], removed: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Means before and after, and their paired differences; sums: of `hits` under the names BEFORE and AFTER.

    models: the one that ranked, by protocol; removed: of `lists.passed_over`, by protocol.
    """
    protocols = {}
    for protocol in LIST_PROTOCOLS:
        metrics: dict[str, dict[str, Any]] = {}
        for metric in METRICS:
            if metric.k == K and metric.kind in ("recall", "ndcg"):
                values = {name: mean(sums, name, protocol, metric) for name in (BEFORE, AFTER)}
                metrics.setdefault(metric.section, {})[metric.label] = _change(values)
        protocols[protocol] = {
            "model": models[protocol],
            "num_positives": round(float(sums.get("totals", protocol, name="num_positives")[0])),
            "metrics": metrics,
            "removed": dict(removed[protocol]),
        }
    return {"split": "test", "k": K, "protocols": protocols}


def _change(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    estimates = {name: float(found[0]) for name, found in values.items()}
    moved = paired_differences(estimates, {name: found[1:] for name, found in values.items()}, BEFORE)[AFTER]
    change = {key: plain(value) for key, value in asdict(moved).items() if "holm" not in key}
    return {**{name: plain(value) for name, value in estimates.items()}, **change}


def _lists(lists: pa.Array, protocol: str, codes: pa.Array) -> Lists:
    owner, names = _flat(lists)
    items = pc.index_in(pa.array(names, pa.string()), value_set=codes).to_numpy(zero_copy_only=False).astype(np.int64)
    sizes = np.bincount(owner, minlength=len(lists))
    scores = -np.arange(len(items), dtype=np.float64)
    return Lists(protocol, np.concatenate([[0], np.cumsum(sizes)]), items, scores, sizes)


def _flat(lists: pa.Array) -> tuple[Ints, np.ndarray]:
    """Row of each element of an array of lists, and the elements; a null is an empty list."""
    sizes = np.nan_to_num(lists.value_lengths().to_numpy(zero_copy_only=False)).astype(np.int64)
    return np.repeat(np.arange(len(lists)), sizes), lists.flatten().to_numpy(zero_copy_only=False)


def _offsets(sizes: Ints) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
