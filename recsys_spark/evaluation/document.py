"""evaluation.json: what was found on every split, and the models chosen on val."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import SENTINEL
from recsys_spark.contracts.model_config import NEW_ITEMS
from recsys_spark.evaluation.protocols import PROTOCOLS
from recsys_spark.evaluation.ranking_metrics import HEADLINE, metric_of
from recsys_spark.evaluation.results import LISTS, choose_best, protocol_result
from recsys_spark.evaluation.summary import SplitSummary
from recsys_spark.evaluation.waterfall import waterfall

FORMAT = 1  # of evaluation.json; docs/schemas/evaluation.schema.json describes it


def evaluation_document(
    summaries: Mapping[str, SplitSummary], models: Sequence[str], replicates: int, two_stage: Sequence[str] = ()
) -> dict[str, Any]:
    """All of evaluation.json. summaries: by split, with `val`, on which the best models are chosen.

    two_stage: those of the models that rank what single ones propose; all are compared with the best single model.
    """
    best = choose_best(summaries["val"].sums, models)
    best_single = choose_best(summaries["val"].sums, [model for model in models if model not in two_stage])
    document: dict[str, Any] = {
        "format": FORMAT,
        "replicates": replicates,
        "best": best,
        "best_single": best_single,
        "split": {
            split: {
                "shares": summary.shares,
                "first_orders_without_query": summary.first_orders,
                "protocols": {protocol: _protocol(summary, protocol, models, best_single) for protocol in PROTOCOLS},
            }
            for split, summary in summaries.items()
        },
    }
    return {**document, "warnings": sentinel_warnings(document["split"])}


def sentinel_warnings(splits: Mapping[str, Any]) -> list[str]:
    """One line for each model that the sentinel comes within half of, by Recall@20.

    splits: `split` of evaluation.json. Next codes in catalogue order are hard to hit unless lists know something of the
    very basket that is asked for, or the order of the codes tells what is bought in turn. What ranks new items alone is
    held against nothing: it finds little by its nature.
    """
    lines = []
    for split, result in splits.items():
        for protocol in LIST_PROTOCOLS:
            models = result["protocols"][protocol]["models"]
            reached = (metric_of(models[SENTINEL], HEADLINE) or 0.0) if SENTINEL in models else 0.0
            for model, means in models.items():
                value = metric_of(means, HEADLINE) or 0.0
                if model not in (SENTINEL, NEW_ITEMS) and reached > 0 and 2 * reached >= value:
                    lines.append(
                        f"{split}, {protocol}: {SENTINEL}, which has learned nothing, reaches Recall@20 {reached:.4f}, "
                        f"{model} {value:.4f}: look for a leak"
                    )
    return lines


def _protocol(
    summary: SplitSummary, protocol: str, models: Sequence[str], references: Mapping[str, str]
) -> dict[str, Any]:
    result = protocol_result(summary.sums, protocol, models, references)
    for model, found in result["models"].items():
        if LISTS in found:
            found[LISTS].update(summary.coverage.get((model, protocol), {}))
        counts = {**summary.counts.get(("", protocol), {}), **summary.counts.get((model, protocol), {})}
        found["waterfall"] = waterfall(counts)
    return result
