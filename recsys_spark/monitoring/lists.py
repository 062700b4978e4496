"""Drift of what is recommended: how much of the catalogue is listed, how evenly, and how much of a list stayed.

Rank-biased overlap of two lists (Webber, Moffat and Zobel, TOIS 28(4), 2010), extrapolated from depth k, with X_d the
size of what the first d of both share: X_k / k * p^k + (1 - p) / p * sum over d of X_d / d * p^d. It is 1 for equal
lists, 0 for lists that share nothing, and with p = 0.9 the first ten places have 86 % of the weight.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import ITEM_ID_MAP, RANKINGS, RECOMMENDATIONS
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.evaluation.protocols import ALL_ITEMS
from recsys_spark.monitoring.measures import Measure, above, below, not_measured, told
from recsys_spark.monitoring.runs import SeenRun

GROUP = "lists"
PERSISTENCE = 0.9  # p of the rank-biased overlap
_KEY = ("customer_id", "event_time")  # whose list it is; lists of recommendations have no time


def list_measures(reference: SeenRun, current: SeenRun, config: MonitorConfig) -> list[Measure]:
    """Of `recommendations`, or of the best models' lists of the test queries where a run has none.

    Both sides are cut to the places that both have: more of them hold more products.
    """
    runs = reference, current
    if all(run.has(RECOMMENDATIONS) for run in runs):
        tables = [run.table(RECOMMENDATIONS) for run in runs]
        k = places_of_both(tables, F.col("rank"), config.top_k)
        sides = [recommended(table, k) for table in tables]
    else:
        keys = [{"model": str(run.best_model(ALL_ITEMS)), "split": "test"} for run in runs]
        if not all(run.has(RANKINGS, **own) for run, own in zip(runs, keys, strict=True)):
            return [
                not_measured(GROUP, "rank_overlap", "one of the runs has neither recommendations nor an evaluated list")
            ]
        tables = [run.table(RANKINGS, **own) for run, own in zip(runs, keys, strict=True)]
        k = places_of_both(tables, F.size("stock_codes"), config.top_k)
        sides = [ranked(table, k) for table in tables]
    num_items = [run.table(ITEM_ID_MAP).count() for run in runs]
    return [
        *spread_measures(sides[0], sides[1], num_items[0], num_items[1], config),
        *churn(sides[0], sides[1], config),
    ]


def places_of_both(tables: Sequence[DataFrame], places: Column, top_k: int) -> int:
    """The length of the longest list of the side whose longest is shorter, at most top_k. A side without lists has no
    say: it is to be found, not to be matched.
    """
    longest = (table.agg(F.max(places)).first() for table in tables)
    return min(top_k, *(row[0] for row in longest if row is not None and row[0]))


def recommended(recommendations: DataFrame, k: int) -> DataFrame:
    """customer_id, event_time (null) and stock_codes, best first, of RECOMMENDATIONS."""
    places = F.array_sort(F.collect_list(F.struct("rank", "stock_code")))
    lists = recommendations.filter(F.col("rank") <= k).groupBy("customer_id").agg(places.alias("places"))
    time = F.lit(None).cast("timestamp").alias("event_time")
    return lists.select("customer_id", time, F.col("places.stock_code").alias("stock_codes"))


def ranked(rankings: DataFrame, k: int) -> DataFrame:
    """The same of RANKINGS, one list for each query."""
    return rankings.filter(F.col("protocol") == ALL_ITEMS).select(
        *_KEY, F.slice("stock_codes", 1, k).alias("stock_codes")
    )


def spread_measures(
    reference: DataFrame, current: DataFrame, num_reference: int, num_current: int, config: MonitorConfig
) -> list[Measure]:
    """Catalogue coverage and Gini coefficient. num_reference, num_current: products that there are."""
    sides = (reference, num_reference), (current, num_current)
    (first, first_gini), (second, second_gini) = (_spread(lists, size) for lists, size in sides)
    if not first:
        return [not_measured(GROUP, "coverage", "the reference lists no product")]
    limits = config.thresholds
    change = second / first - 1
    return [
        above(
            GROUP,
            "coverage",
            abs(change),
            limits.coverage,
            f"{first:.2%} of the products were listed, {second:.2%} are: {change:+.1%}",
            reference=first,
            current=second,
        ),
        above(
            GROUP,
            "gini",
            abs(second_gini - first_gini),
            limits.gini,
            f"the Gini coefficient of listings was {first_gini:.3f}, is {second_gini:.3f} (1: one product has all)",
            reference=first_gini,
            current=second_gini,
        ),
    ]


def churn(reference: DataFrame, current: DataFrame, config: MonitorConfig) -> list[Measure]:
    """How much of each list stayed, in the mean over the lists that both sides have."""
    second = current.select(*_KEY, F.col("stock_codes").alias("other"))
    same_time = F.col("f.event_time").eqNullSafe(F.col("s.event_time"))
    is_same = (F.col("f.customer_id") == F.col("s.customer_id")) & same_time
    pairs = reference.alias("f").join(second.alias("s"), on=is_same, how="inner").select("stock_codes", "other")
    jaccard = F.expr("size(array_intersect(stock_codes, other)) / size(array_union(stock_codes, other))")
    row = pairs.agg(
        F.count(F.lit(1)).alias("lists"),
        F.avg(jaccard).alias("jaccard"),
        F.avg(_rank_overlap(F.col("stock_codes"), F.col("other"))).alias("overlap"),
    ).first()
    assert row is not None  # an aggregate without keys has one row
    if not row["lists"]:
        return [not_measured(GROUP, "rank_overlap", "the runs list for no customer or query in common")]
    counts = {"common": row["lists"], "reference": reference.count(), "current": current.count()}
    return [
        below(
            GROUP,
            "rank_overlap",
            row["overlap"],
            config.thresholds.rank_overlap,
            f"{counts['common']:,} lists of both sides have a mean rank-biased overlap of {row['overlap']:.3f}",
            lists=counts,
        ),
        told(GROUP, "jaccard", row["jaccard"], f"of both lists together {row['jaccard']:.0%} stand in both"),
    ]


def _rank_overlap(first: Column, second: Column) -> Column:
    """Of two arrays, both cut to the shorter; 0 for an empty one."""

    def weighted_share(depth: Column) -> Column:
        """X_d / d * p^d of the first d of both."""
        heads = (F.slice(items, F.lit(1), depth) for items in (first, second))
        return F.size(F.array_intersect(*heads)) / depth * F.pow(F.lit(PERSISTENCE), depth)

    shorter = F.least(F.size(first), F.size(second))
    depths = F.sequence(F.lit(1), shorter)
    summed = F.aggregate(depths, F.lit(0.0), lambda total, depth: total + weighted_share(depth))
    overlap = weighted_share(shorter) + (1 - PERSISTENCE) / PERSISTENCE * summed
    return F.when(shorter == 0, 0.0).otherwise(overlap)


def _spread(lists: DataFrame, num_items: int) -> tuple[float, float]:
    """Share of the products that any list holds, and the Gini coefficient of listings over all products."""
    listed = lists.select(F.explode("stock_codes").alias("stock_code")).groupBy("stock_code").count()
    by_count = listed.groupBy("count").agg(F.count(F.lit(1)).alias("products")).orderBy("count")
    # Distinct counts are at most the root of twice the listings: 6,325 for a million lists of twenty.
    found = [(row["count"], row["products"]) for row in by_count.collect()]
    num_listed = sum(products for _, products in found)
    return num_listed / max(num_items, 1), gini([(0, max(num_items - num_listed, 0)), *found])


def gini(counts: list[tuple[int, int]]) -> float:
    """Gini coefficient of a distribution given as (value, how many have it), by rising value.

    >>> gini([(5, 4)]), gini([(0, 3), (8, 1)])
    (0.0, 0.75)
    """
    size = sum(many for _, many in counts)
    total = sum(value * many for value, many in counts)
    if not total:
        return 0.0
    below_area, reached = 0, 0
    for value, many in counts:
        below_area += many * (2 * reached + value * many)
        reached += value * many
    return 1 - below_area / (size * total)
