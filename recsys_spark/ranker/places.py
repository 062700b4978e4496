"""Where a ranker puts the positives among the candidates of their queries, and means of that with intervals.

Over retrieved positives alone this says how good the ranker is and not how good the lists are; for that, those that
were missed count as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints, order_best_first, places_by_group
from recsys_spark.baselines.ranking import SCORE_DECIMALS
from recsys_spark.contracts.columns import K_VALUES, LIST_PROTOCOLS
from recsys_spark.evaluation.bootstrap import read_sums, resampled_sums
from recsys_spark.evaluation.exact import exact_sum
from recsys_spark.evaluation.intervals import percentile_interval
from recsys_spark.evaluation.ranking_metrics import PER_POSITIVE, Metric, positive_value
from recsys_spark.evaluation.results import DIGITS
from recsys_spark.ranker.shard_scores import ScoredRows

PLACES_DDL = "user_idx bigint, protocol string, rank bigint"
METRICS = (
    *(Metric(PER_POSITIVE, "recall", k) for k in K_VALUES),
    Metric(PER_POSITIVE, "ndcg", 20),
    Metric(PER_POSITIVE, "mrr", 20),
)
COUNT = "num_positives"


@dataclass(frozen=True)
class Resampled:
    """Sums of a ranker under a protocol, (1 + replicates, 1 + metrics): the positives, then METRICS.

    Row 0 has every customer once.
    """

    sums: npt.NDArray[np.float64]

    @property
    def num_positives(self) -> int:
        return round(self.sums[0, 0])

    def mean(self, metric: Metric) -> npt.NDArray[np.float64]:
        """Per positive, (1 + replicates,)."""
        with np.errstate(invalid="ignore"):
            found: npt.NDArray[np.float64] = self.sums[:, 1 + METRICS.index(metric)] / self.sums[:, 0]
        return found


def ranked_positives(scored: DataFrame) -> DataFrame:
    """PLACES_DDL: one row per positive and protocol that counts it, ranked from 1. scored: of `score_shards`."""
    return scored.mapInArrow(_ranked, PLACES_DDL)


def offered_positives(candidates: DataFrame, repeat_sources: tuple[str, ...]) -> DataFrame:
    """The same for the order in which CANDIDATES were proposed: what the lists would be without a ranker."""
    by_place = F.transform("items", lambda _, place: -place.cast("double"))
    ranks = F.arrays_zip(*(f"rank_{source}" for source in repeat_sources))

    def is_repeat(rank: Column) -> Column:
        return F.greatest(*(rank[f"rank_{source}"] for source in repeat_sources), F.lit(0)) > 0

    return ranked_positives(
        candidates.select(
            "query_id",
            "user_idx",
            F.col("items").cast("array<bigint>").alias("candidates"),
            by_place.alias("scores"),
            by_place.alias("first_scores"),
            F.transform("items", lambda item: F.array_contains("positives", item)).alias("is_bought"),
            F.transform(ranks, is_repeat).alias("is_repeat"),
        )
    )


def missed_positives(forced: DataFrame) -> DataFrame:
    """PLACES_DDL of positives that the candidates lack: without a rank. forced: their rows of RANKER_FEATS."""
    every, first = (F.lit(protocol) for protocol in LIST_PROTOCOLS)
    counted = F.when(F.col("is_repeat"), F.array(every)).otherwise(F.array(every, first))
    return forced.select("user_idx", F.explode(counted).alias("protocol"), F.lit(None).cast("bigint").alias("rank"))


def resampled(
    places: DataFrame, replicates: int, seed: int, by: tuple[str, ...] = ()
) -> dict[tuple[str, ...], Resampled]:
    """Sums by protocol, or by the columns `by` and protocol. places: PLACES_DDL, with these columns."""
    keys = (*by, "protocol")
    values = F.array(F.count(F.lit(1)).cast("double"), *(exact_sum(_value(metric)) for metric in METRICS))
    by_customer = places.groupBy("user_idx", *keys).agg(values.alias("values"))
    cells = by_customer.select("user_idx", F.concat_ws("|", *keys).alias("cell"), "values")
    collected = resampled_sums(cells, replicates, seed).collect()
    return {tuple(row["cell"].split("|")): Resampled(read_sums(row["sums"], replicates)) for row in collected}


def means(found: Resampled) -> dict[str, object]:
    """Number of positives, every mean and its interval, by label such as recall@20."""
    by_metric = {metric.label: found.mean(metric) for metric in METRICS}
    intervals = {label: _rounded(percentile_interval(values[1:])) for label, values in by_metric.items()}
    return {
        COUNT: found.num_positives,
        **{label: round(float(values[0]), DIGITS) for label, values in by_metric.items()},
        "intervals": intervals,
    }


def _value(metric: Metric) -> Column:
    return positive_value(metric, F.col("rank"), F.lit(1.0))


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(bound, DIGITS) for bound in interval]


def _ranked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = ScoredRows.of(batch)
        for protocol, scores, counts in rows.by_protocol():
            hit = rows.is_bought[counts]
            rank = places_within(rows.query[counts], scores[counts], rows.items[counts])[hit]
            yield pa.RecordBatch.from_arrays(
                [pa.array(rows.users[counts][hit]), pa.array([protocol] * len(rank), pa.string()), pa.array(rank)],
                names=["user_idx", "protocol", "rank"],
            )


def places_within(query: Ints, scores: npt.NDArray[np.float64], items: Ints) -> Ints:
    """Ranks from 1 within each query, by descending score, then by item; (N,) each, query ascending.

    >>> places_within(np.array([1, 1, 1, 2]), np.array([0.5, 0.9, 0.5, 0.1]), np.array([7, 8, 3, 9])).tolist()
    [3, 1, 2, 1]
    """
    order = order_best_first(query, items, np.round(scores, SCORE_DECIMALS))
    rank = np.empty(len(query), dtype=np.int64)
    rank[order] = places_by_group(query) + 1
    return rank
