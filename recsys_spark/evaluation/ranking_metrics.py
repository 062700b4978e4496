"""Recall, NDCG and MRR: as plain definitions over one list, and as Spark columns over ranks.

A positive found at rank r gains 1 / log2(1 + r) (Jarvelin and Kekalainen, TOIS 2002). Per positive, the gain itself is
the NDCG, because the best list for a single positive has it at rank 1. Per basket, the gains of all its positives are
divided by those of a list that begins with them; under masked_seen, where each repeat has a list of its own and may be
the first of it, by the number of positives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log2
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import K_VALUES
from recsys_spark.evaluation.protocols import MASKED_SEEN

PER_POSITIVE = "per_positive"  # every positive counts the same
PER_BASKET = "per_basket"  # every basket counts the same
MONEY = "money"  # every positive counts with its line_amount


@dataclass(frozen=True)
class Metric:
    """One mean: over which section, of which kind (recall, ndcg, mrr), at which K."""

    section: str
    kind: str
    k: int

    @property
    def label(self) -> str:
        """Its key in evaluation.json, such as recall@20."""
        return f"{self.kind}@{self.k}"

    @property
    def column(self) -> str:
        """The column that holds its sum."""
        return f"{self.section}_{self.kind}_{self.k}"


def _metrics(section: str, *kinds: str) -> tuple[Metric, ...]:
    return tuple(Metric(section, kind, k) for kind in kinds for k in K_VALUES)


POSITIVE_METRICS = _metrics(PER_POSITIVE, "recall", "ndcg", "mrr") + _metrics(MONEY, "recall", "ndcg")
BASKET_METRICS = _metrics(PER_BASKET, "recall", "ndcg")
METRICS = POSITIVE_METRICS + BASKET_METRICS
SECTIONS = (PER_POSITIVE, PER_BASKET, MONEY)
HEADLINE = Metric(PER_POSITIVE, "recall", 20)  # chooses models and settings, on val


def metric_of(means: Mapping[str, Any], metric: Metric) -> float | None:
    """One mean of one model."""
    value: float | None = means[metric.section][metric.label]
    return value


# Definitions over one list


def gain(rank: int) -> float:
    """What a positive at `rank` (from 1) adds to the DCG.

    >>> gain(1), gain(3)
    (1.0, 0.5)
    """
    return 1 / log2(1 + rank)


def reciprocal_rank(rank: int) -> float:
    """What a positive at `rank` (from 1) adds to the MRR.

    >>> reciprocal_rank(4)
    0.25
    """
    return 1 / rank


def recall_at_k(ranked: Sequence[int], relevant: set[int], k: int) -> float:
    """Share of the relevant items that stand in the top k; for one relevant item, 1 or 0.

    >>> recall_at_k([3, 1, 2], {1, 5}, k=2)
    0.5
    """
    return len(relevant.intersection(ranked[:k])) / len(relevant)


def ndcg_at_k(ranked: Sequence[int], relevant: set[int], k: int) -> float:
    """DCG of the top k over the DCG of a list that begins with the relevant items.

    >>> ndcg_at_k([3, 1, 2], {2}, k=3)
    0.5
    """
    return sum(gain(rank) for rank, item in enumerate(ranked[:k], 1) if item in relevant) / ideal_dcg(len(relevant), k)


def mrr_at_k(ranked: Sequence[int], positive: int, k: int) -> float:
    """1 / rank of one positive, 0 beyond k.

    >>> mrr_at_k([3, 1, 2], 1, k=2), mrr_at_k([3, 1, 2], 2, k=2)
    (0.5, 0.0)
    """
    top = list(ranked[:k])
    return reciprocal_rank(top.index(positive) + 1) if positive in top else 0.0


def ideal_dcg(num_relevant: int, k: int) -> float:
    """DCG of a list that begins with the relevant items.

    >>> ideal_dcg(1, k=10), ideal_dcg(5, k=1)
    (1.0, 1.0)
    """
    return _IDEAL_DCG[min(num_relevant, k) - 1]


_IDEAL_DCG = tuple(accumulate(gain(rank) for rank in range(1, max(K_VALUES) + 1)))


# The same over Spark columns

_VALUE_AT: dict[str, Callable[[Column], Column]] = {
    "recall": lambda _: F.lit(1.0),
    "ndcg": lambda rank: 1 / F.log2(1 + rank),
    "mrr": lambda rank: 1 / rank,
}


def positive_value(metric: Metric, rank: Column, amount: Column) -> Column:
    """What one positive adds to the sum of a POSITIVE_METRICS metric; 0 beyond K and for a null rank.

    rank: from 1, null for a positive that was not found; amount: money of the positive, the weight under MONEY.
    """
    value = F.when(rank <= metric.k, _VALUE_AT[metric.kind](rank)).otherwise(0.0)
    return value * amount if metric.section == MONEY else value


def basket_value(metric: Metric, num_relevant: Column, protocol: Column) -> Column:
    """A BASKET_METRICS metric of one query, from the sums over its positives and their number under the protocol."""
    found = F.col(Metric(PER_POSITIVE, metric.kind, metric.k).column)
    if metric.kind == "recall":
        return found / num_relevant
    ideal = F.array(*(F.lit(value) for value in _IDEAL_DCG[: metric.k]))
    of_one_list = F.element_at(ideal, F.least(num_relevant, F.lit(metric.k)).cast("int"))
    return found / F.when(protocol == MASKED_SEEN, num_relevant).otherwise(of_one_list)
