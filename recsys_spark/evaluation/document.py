"""evaluation.json: what was found on every split, and the models chosen on val."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recsys_spark.evaluation.protocols import PROTOCOLS
from recsys_spark.evaluation.results import LISTS, choose_best, protocol_result
from recsys_spark.evaluation.summary import SplitSummary
from recsys_spark.evaluation.waterfall import waterfall

FORMAT = 1  # of evaluation.json; docs/schemas/evaluation.schema.json describes it


def evaluation_document(
    summaries: Mapping[str, SplitSummary], models: Sequence[str], replicates: int
) -> dict[str, Any]:
    """All of evaluation.json. summaries: by split, with `val`, on which the best models are chosen."""
    best = choose_best(summaries["val"].sums, models)
    return {
        "format": FORMAT,
        "replicates": replicates,
        "best": best,
        "split": {
            split: {
                "shares": summary.shares,
                "first_orders_without_query": summary.first_orders,
                "protocols": {protocol: _protocol(summary, protocol, models, best) for protocol in PROTOCOLS},
            }
            for split, summary in summaries.items()
        },
    }


def _protocol(summary: SplitSummary, protocol: str, models: Sequence[str], best: Mapping[str, str]) -> dict[str, Any]:
    result = protocol_result(summary.sums, protocol, models, best)
    for model, found in result["models"].items():
        if LISTS in found:
            found[LISTS].update(summary.coverage.get((model, protocol), {}))
        counts = {**summary.counts.get(("", protocol), {}), **summary.counts.get((model, protocol), {})}
        found["waterfall"] = waterfall(counts)
    return result
