"""Whether the ranker's scores still mean the same share of purchases.

Scores compare within a query alone, so a candidate is known by z = score - log(sum of exp(scores of its query)), the
log of its softmax. On one set of queries the share of candidates bought is fitted as a rising function of z (isotonic
regression); on the other that function predicts. Over ten bins of as many predicted purchases each, what was predicted
and what was bought are held against each other:

    error = sum over bins of |predicted - bought| / bought in all

which is the expected calibration error (Naeini et al., AAAI 2015) over the share of candidates that are bought: few
are, so the plain error is near 0 whatever the scores are worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Floats, Ints
from recsys_spark.contracts.artifacts import QUERIES, RANKER_BEST, RANKER_FEATS
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.evaluation.facts import of_judged
from recsys_spark.monitoring.histograms import keys_of
from recsys_spark.monitoring.measures import Measure, above, not_measured
from recsys_spark.monitoring.runs import SeenRun
from recsys_spark.ranker.calibration import log_shares
from recsys_spark.ranker.shard_scores import score_shards

GROUP = "scores"
_BINS = 10
_ERRORS = 2  # standard deviations of a bin's purchases that are taken for sampling
_COUNTS = "key int, candidates bigint, bought bigint"


@dataclass(frozen=True)
class ScoreCounts:
    """Candidates and purchases by the key of z, ascending."""

    keys: Ints
    candidates: Ints
    bought: Ints


def calibration_measures(
    fitted: tuple[SeenRun, str], judged: tuple[SeenRun, str], config: MonitorConfig
) -> list[Measure]:
    """fitted, judged: a run and a split of it, `val` or `test`; the scores of a split are those of its own ranker."""
    fits = {"val": "train", "test": "val"}
    for run, split in (fitted, judged):
        if not (run.has(RANKER_BEST, fit=fits[split]) and run.has(RANKER_FEATS, part=split)):
            return [not_measured(GROUP, "calibration", "one of the runs has no ranker")]
    counts = []
    for run, split in (fitted, judged):
        ranker = run.file(RANKER_BEST, fit=fits[split])
        scored = score_shards(run.table(RANKER_FEATS, part=split), ranker)
        test_end = run.test_end()
        if test_end:
            scored = of_judged(scored, run.table(QUERIES, split=split), split, test_end)
        counts.append(score_counts(scored))
    return [calibration(counts[0], counts[1], config)]


def score_counts(scored: DataFrame) -> ScoreCounts:
    """Counts of all candidates. scored: of `score_shards`."""
    counts = scored.select("scores", "is_bought").mapInArrow(_count, _COUNTS).groupBy("key")
    summed = counts.agg(*(F.sum(name).alias(name) for name in ("candidates", "bought")))
    # At most 65,536 keys there are.
    table = np.array(summed.orderBy("key").collect(), np.int64).reshape(-1, 3)
    return ScoreCounts(*table.T)


def calibration(fitted: ScoreCounts, judged: ScoreCounts, config: MonitorConfig) -> Measure:
    """The error of what the first set of queries makes one expect of the second."""
    from sklearn.isotonic import IsotonicRegression  # half a second, which other commands need not wait for

    total = int(judged.bought.sum())
    if not total or not fitted.bought.sum():
        return not_measured(GROUP, "calibration", "no candidate was bought")
    share = fitted.bought / fitted.candidates
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(fitted.keys, share, fitted.candidates)
    predicted, bought, candidates = _in_bins(judged, model.predict(judged.keys) * judged.candidates)
    value = float(np.abs(predicted - bought).sum() / total)
    noise = float(_ERRORS * np.sqrt(predicted).sum() / total)
    plain = value * total / float(candidates.sum())
    sentence = (
        f"scores predicted {predicted.sum():,.0f} purchases among the candidates, {total:,} there were; by bins they "
        f"are {value:.0%} apart (expected calibration error {plain:.4f})"
    )
    bins = {"predicted": predicted / candidates, "bought": bought / candidates, "candidates": candidates}
    rounded = {name: [round(float(number), 6) for number in numbers] for name, numbers in bins.items()}
    return above(
        GROUP, "calibration", value, config.thresholds.calibration + noise, sentence, noise=round(noise, 6), **rounded
    )


def _in_bins(judged: ScoreCounts, expected: Floats) -> tuple[Floats, Floats, Floats]:
    """Predicted, bought and candidates of each bin, by rising z; each bin has about as many predicted purchases."""
    reached = np.cumsum(expected)
    bins = np.minimum((reached - expected / 2) / max(reached[-1], 1e-12) * _BINS, _BINS - 1).astype(int)
    of_bins = np.array(
        [np.bincount(bins, each, minlength=_BINS) for each in (expected, judged.bought, judged.candidates)]
    )
    predicted, bought, candidates = of_bins[:, of_bins[2] > 0]
    return predicted, bought, candidates


def _count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if not batch.num_rows:
            continue
        sizes = np.diff(batch.column("scores").offsets.to_numpy())
        query = np.repeat(np.arange(len(sizes)), sizes)
        # Rounded, so that it does not depend on the order of a sum.
        shares = np.round(log_shares(batch.column("scores").flatten().to_numpy(), query), 6)
        keys = keys_of(shares.astype(np.float32))
        is_bought = batch.column("is_bought").flatten().to_numpy(zero_copy_only=False)
        found, place = np.unique(keys, return_inverse=True)
        columns = {
            "key": pa.array(found, pa.int32()),
            "candidates": pa.array(np.bincount(place).astype(np.int64)),
            "bought": pa.array(np.bincount(place, is_bought).astype(np.int64)),
        }
        yield pa.RecordBatch.from_pydict(columns)
