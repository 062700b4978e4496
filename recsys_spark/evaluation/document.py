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
    `warnings` tells what makes figures worthless: nothing to choose by, too few items, a leak.
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
                "eligible_items": summary.eligible_items,
                "protocols": {protocol: _protocol(summary, protocol, models, best_single) for protocol in PROTOCOLS},
            }
            for split, summary in summaries.items()
        },
    }
    warnings = [*_chosen_by_nothing(document["split"]["val"]), *sentinel_warnings(document["split"])]
    return {**document, "warnings": warnings}


def _chosen_by_nothing(val: Mapping[str, Any]) -> list[str]:
    return [
        f"val, {protocol}: no positive, so no model was compared with another; the best is the first named"
        for protocol in LIST_PROTOCOLS
        if val["protocols"][protocol]["num_positives"] == 0
    ]


def sentinel_warnings(splits: Mapping[str, Any]) -> list[str]:
    """One line for each split and protocol in which the sentinel reaches half of another model's Recall@20 or more.

    splits: `split` of evaluation.json. Next codes in catalogue order are hard to hit unless lists know something of the
    very basket that is asked for, or the order of the codes tells what is bought in turn. Nothing is said of a sentinel
    that reaches no more than twice what 20 of the eligible items reach by chance; where there are 20 of them or fewer,
    that is all there is to say. What ranks new items alone is held against nothing: it finds little by its nature.
    """
    full = [split for split, result in splits.items() if result["eligible_items"] <= HEADLINE.k]
    told = f"at most {HEADLINE.k} eligible items, which one list holds: Recall@{HEADLINE.k} says little"
    lines = [f"{' and '.join(full)}: {told}"] if full else []
    for split, result in splits.items():
        chance = min(1.0, HEADLINE.k / max(result["eligible_items"], 1))
        for protocol in LIST_PROTOCOLS:
            models = result["protocols"][protocol]["models"]
            values = {model: metric_of(means, HEADLINE) or 0.0 for model, means in models.items()}
            reached = values.get(SENTINEL, 0.0)
            near = [
                f"{model} {value:.4f}"
                for model, value in values.items()
                if model not in (SENTINEL, NEW_ITEMS) and 2 * reached >= value
            ]
            if near and reached > 2 * chance:
                lines.append(
                    f"{split}, {protocol}: {SENTINEL}, which has learned nothing, reaches Recall@{HEADLINE.k} "
                    f"{reached:.4f}, {', '.join(near)}: look for a leak"
                )
    return lines


def _protocol(
    summary: SplitSummary, protocol: str, models: Sequence[str], references: Mapping[str, str]
) -> dict[str, Any]:
    result = protocol_result(summary.sums, protocol, models, references)
    for model, found in result["models"].items():
        if LISTS in found:
            found[LISTS].update(summary.coverage.get((model, protocol), {}))
        if model != NEW_ITEMS:  # it ranks what the causes call cold, and nothing of what they call warm
            counts = {**summary.counts.get(("", protocol), {}), **summary.counts.get((model, protocol), {})}
            found["waterfall"] = waterfall(counts)
    return result
