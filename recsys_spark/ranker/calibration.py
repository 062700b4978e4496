"""What a score says about the chance of a purchase: fitted on one split, held against what was bought in another.

A ranker's scores compare within a query alone, so they enter as log shares: the log softmax over the query's
candidates. A logistic regression on that (Platt, 1999) turns a share into the probability that the candidate is bought.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Floats, Ints
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.ranker.shard_scores import ScoredRows

_BINS_PER_NAT = 50  # bins of the log share, fine enough to stand for their middle
_LOWEST = -20.0  # smaller log shares count as this
_GROUPS = 10  # of the reliability table
HISTOGRAM_DDL = "protocol string, bin bigint, candidates bigint, bought bigint"


def log_share_histogram(scored: DataFrame) -> DataFrame:
    """HISTOGRAM_DDL: candidates and those bought, by protocol and bin of the log share. scored: of `score_shards`.

    Under first_purchase only candidates that are new to the customer count.
    """
    parts = scored.mapInArrow(_histogram, HISTOGRAM_DDL)
    return parts.groupBy("protocol", "bin").agg(
        F.sum("candidates").alias("candidates"), F.sum("bought").alias("bought")
    )


def calibration(fitted_on: DataFrame, held_against: DataFrame) -> dict[str, Any]:
    """By protocol: `slope` and `intercept` of log odds over log share, the reliability table and its error.

    Both frames: of `log_share_histogram`. A row of `table` is a tenth of the purchases that are expected: mean
    probability, share bought, candidates. `expected_error` is the mean gap of both over candidates (Naeini et al., AAAI
    2015). A protocol without both outcomes in the first frame is left out.
    """
    fits, tests = _by_protocol(fitted_on), _by_protocol(held_against)
    found = {}
    for protocol in LIST_PROTOCOLS:
        middles, candidates, bought = fits[protocol]
        if not 0 < bought.sum() < candidates.sum():
            continue
        slope, intercept = _logistic(middles, candidates, bought)
        at, shown, sold = tests[protocol]
        table = reliability(_probability(at, slope, intercept), shown, sold)
        gaps = sum(row["candidates"] * abs(row["probability"] - row["bought"]) for row in table)
        found[protocol] = {
            "slope": slope,
            "intercept": intercept,
            "expected_error": gaps / shown.sum() if shown.sum() else None,
            "table": table,
        }
    return found


def reliability(probability: Floats, candidates: Ints, bought: Ints) -> list[dict[str, Any]]:
    """Rows of rising probability with about as many expected purchases each; all arrays by bin.

    >>> rows = reliability(np.array([0.1, 0.5]), np.array([90, 10]), np.array([9, 6]))
    >>> [(row["candidates"], round(row["probability"], 3), row["bought"]) for row in rows]
    [(90, 0.1, 0.1), (10, 0.5, 0.6)]
    """
    order = np.argsort(probability, kind="stable")
    expected = probability[order] * candidates[order]
    total = expected.sum()
    if total <= 0:
        return []
    # By the middle of a bin's own mass, so that one large bin does not take the next one's group.
    group = np.minimum(((np.cumsum(expected) - expected / 2) / total * _GROUPS).astype(np.int64), _GROUPS - 1)
    rows = []
    for number in np.unique(group):
        at = order[group == number]
        shown = int(candidates[at].sum())
        rows.append(
            {
                "candidates": shown,
                "probability": float((probability[at] * candidates[at]).sum() / shown),
                "bought": float(bought[at].sum() / shown),
            }
        )
    return rows


def _by_protocol(histogram: DataFrame) -> dict[str, tuple[Floats, Ints, Ints]]:
    """Middles of the bins, candidates, bought; of bins that hold any."""
    rows = sorted(histogram.collect(), key=lambda row: (row["protocol"], row["bin"]))
    found = {}
    for protocol in LIST_PROTOCOLS:
        own = np.array([(r["bin"], r["candidates"], r["bought"]) for r in rows if r["protocol"] == protocol], np.int64)
        bins, candidates, bought = own.reshape(-1, 3).T
        found[protocol] = ((bins + 0.5) / _BINS_PER_NAT + _LOWEST, candidates, bought)
    return found


def _logistic(middles: Floats, candidates: Ints, bought: Ints) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    inputs = np.concatenate([middles, middles])[:, None]
    outcomes = np.repeat([1, 0], len(middles))
    weights = np.concatenate([bought, candidates - bought]).astype(np.float64)
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-9, max_iter=1000).fit(
        inputs, outcomes, sample_weight=weights
    )
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _probability(middles: Floats, slope: float, intercept: float) -> Floats:
    found: Floats = 1 / (1 + np.exp(-(slope * middles + intercept)))
    return found


def _histogram(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    num_bins = round(-_LOWEST * _BINS_PER_NAT)
    totals = np.zeros((len(LIST_PROTOCOLS), 2, num_bins), dtype=np.int64)
    for batch in batches:
        rows = ScoredRows.of(batch)
        for place, (_, scores, counts) in enumerate(rows.by_protocol()):
            shares = log_shares(scores[counts], rows.query[counts])
            bins = np.clip(((shares - _LOWEST) * _BINS_PER_NAT).astype(np.int64), 0, num_bins - 1)
            totals[place, 0] += np.bincount(bins, minlength=num_bins)
            totals[place, 1] += np.bincount(bins[rows.is_bought[counts]], minlength=num_bins)
    protocols, used = np.nonzero(totals[:, 0])
    columns = {
        "protocol": pa.array(np.array(LIST_PROTOCOLS)[protocols], pa.string()),
        "bin": pa.array(used),
        "candidates": pa.array(totals[protocols, 0, used]),
        "bought": pa.array(totals[protocols, 1, used]),
    }
    yield pa.RecordBatch.from_pydict(columns)


def log_shares(scores: Floats, query: Ints) -> Floats:
    """Log of each candidate's share of its query's softmax, (N,). query: ascending.

    >>> log_shares(np.array([0.0, 0.0, 7.0]), np.array([1, 1, 2])).round(3).tolist()
    [-0.693, -0.693, 0.0]
    """
    if not len(scores):
        return scores
    starts = np.flatnonzero(np.append(True, query[1:] != query[:-1]))
    sizes = np.diff(np.append(starts, len(query)))
    centred = scores - np.repeat(np.maximum.reduceat(scores, starts), sizes)
    totals = np.log(np.add.reduceat(np.exp(centred), starts))
    found: Floats = centred - np.repeat(totals, sizes)
    return found
