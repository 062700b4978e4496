"""Where a ranker puts the positives among the candidates of their queries, and means of that with intervals.

This looks at retrieved positives alone, so it says how good the ranker is and not how good the lists are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.ranking import SCORE_DECIMALS
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.columns import K_VALUES, LIST_PROTOCOLS
from recsys_spark.evaluation.bootstrap import read_sums, resampled_sums
from recsys_spark.evaluation.intervals import percentile_interval
from recsys_spark.evaluation.ranking_metrics import PER_POSITIVE, Metric, positive_value
from recsys_spark.evaluation.results import DIGITS
from recsys_spark.ranker.shard_scores import query_numbers, scored_queries
from recsys_spark.sequences.windows import Ints

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


def ranked_positives(shards: DataFrame, ranker: FittedFile, proposers: Mapping[str, int] | None = None) -> DataFrame:
    """PLACES_DDL: one row per positive of RANKER_FEATS and protocol that counts it, ranked from 1.

    proposers: quotas of sources by name; what none of them proposes is no candidate then.
    """
    return shards.mapInArrow(partial(_ranked, file=ranker, proposers=proposers), PLACES_DDL)


def offered_positives(candidates: DataFrame, repeat_sources: tuple[str, ...]) -> DataFrame:
    """The same for the order in which CANDIDATES were proposed: what the lists would be without a ranker."""
    is_repeat = F.lit(False)
    for source in repeat_sources:
        is_repeat = is_repeat | (F.col(f"one.rank_{source}") > 0)
    arrays = ("items", *(f"rank_{source}" for source in repeat_sources))
    one = F.posexplode(F.arrays_zip(*arrays)).alias("place", "one")
    pairs = candidates.select("user_idx", "query_id", "positives", one)
    pairs = pairs.withColumns({"is_repeat": is_repeat, "label": F.array_contains("positives", F.col("one.items"))})
    all_items = pairs.filter("label").withColumn("rank", F.col("place") + 1).withColumn("protocol", F.lit("all_items"))
    # The candidates new to the customer, in their order: their places follow from how many repeats stand before.
    new = pairs.filter(~F.col("is_repeat")).groupBy("user_idx", "query_id")
    places = new.agg(F.sort_array(F.collect_list(F.struct("place", "label"))).alias("new"))
    first = places.select("user_idx", F.posexplode("new").alias("rank", "one")).filter("one.label")
    first = first.withColumn("rank", F.col("rank") + 1).withColumn("protocol", F.lit("first_purchase"))
    columns = ("user_idx", "protocol", F.col("rank").cast("bigint").alias("rank"))
    return all_items.select(*columns).unionByName(first.select(*columns))


def resampled(
    places: DataFrame, replicates: int, seed: int, by: tuple[str, ...] = ()
) -> dict[tuple[str, ...], Resampled]:
    """Sums by protocol, or by the columns `by` and protocol. places: PLACES_DDL, with these columns."""
    keys = (*by, "protocol")
    values = F.array(F.count(F.lit(1)).cast("double"), *(F.sum(_value(metric)) for metric in METRICS))
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


def _ranked(
    batches: Iterable[pa.RecordBatch], file: FittedFile, proposers: Mapping[str, int] | None
) -> Iterator[pa.RecordBatch]:
    for rows, scores in scored_queries(batches, file):
        label = rows.column("label").to_numpy() > 0
        is_new = ~rows.column("is_repeat").to_numpy(zero_copy_only=False)
        query, items, users = query_numbers(rows), rows.column("item_idx").to_numpy(), rows.column("user_idx")
        kept = np.ones(len(label), dtype=bool) if proposers is None else _proposed(rows, proposers)
        for protocol, head, counts in zip(LIST_PROTOCOLS, scores.T, (kept, kept & is_new), strict=True):
            at = np.flatnonzero(counts)
            rank = places_within(query[at], head[at], items[at])
            hit = label[at]
            yield pa.RecordBatch.from_arrays(
                [
                    users.take(pa.array(at[hit])),
                    pa.array([protocol] * int(hit.sum()), pa.string()),
                    pa.array(rank[hit]),
                ],
                names=["user_idx", "protocol", "rank"],
            )


def places_within(query: Ints, scores: npt.NDArray[np.float64], items: Ints) -> Ints:
    """Ranks from 1 within each query, by descending score, then by item; (N,) each, query ascending.

    >>> places_within(np.array([1, 1, 1, 2]), np.array([0.5, 0.9, 0.5, 0.1]), np.array([7, 8, 3, 9])).tolist()
    [3, 1, 2, 1]
    """
    order = np.lexsort((items, -np.round(scores, SCORE_DECIMALS), query))
    rank = np.empty(len(query), dtype=np.int64)
    rank[order] = np.arange(len(query)) - np.searchsorted(query, query) + 1
    return rank


def _proposed(rows: pa.RecordBatch, quotas: Mapping[str, int]) -> npt.NDArray[np.bool_]:
    """Whether any of the sources ranks the candidate within its quota; (N,)."""
    found = np.zeros(rows.num_rows, dtype=bool)
    for source, quota in quotas.items():
        found |= rows.column(f"rank_{source}").to_numpy() <= quota
    return found
