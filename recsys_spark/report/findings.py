"""What the evaluation comes to in a few sentences: which model, how much better, and where it is weak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.evaluation.protocols import ALL_ITEMS
from recsys_spark.evaluation.ranking_metrics import HEADLINE
from recsys_spark.evaluation.segments import NO_CATEGORY, OTHER
from recsys_spark.report.numbers import value_at
from recsys_spark.report.words import family_of

_MANY = 100  # positives below which a segment says little
_WEAKEST = 3


def findings(documents: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of each protocol that chooses a model: the verdict; and the largest cause of misses and the weakest categories.

    None without an evaluation, or where its test has no basket. Places of numbers are left to the page.
    """
    evaluation = documents.get("evaluation")
    if not evaluation or not evaluation["split"]["test"]["protocols"][ALL_ITEMS]["num_positives"]:
        return None
    best = evaluation["best"]
    test = evaluation["split"]["test"]["protocols"]
    waterfall = test[ALL_ITEMS]["models"][best[ALL_ITEMS]].get("waterfall") or {}
    causes = waterfall.get("causes") or {}
    return {
        "num_models": sum(family_of(model) != "sentinel" for model in test[ALL_ITEMS]["models"]),
        "verdicts": {protocol: verdict(evaluation, protocol) for protocol in LIST_PROTOCOLS},
        "largest_cause": max(causes, key=lambda cause: causes[cause]) if any(causes.values()) else None,
        "weakest": weakest_categories(test[ALL_ITEMS], best[ALL_ITEMS]),
    }


def verdict(evaluation: Mapping[str, Any], protocol: str) -> str:
    """same, better, worse or open: how the best model does on test against the best single one, both chosen on val.

    better and worse: the 95 % interval of the difference, corrected for the number of models, leaves zero out.
    """
    models = evaluation["split"]["test"]["protocols"][protocol]["models"]
    found = value_at(models, evaluation["best"][protocol], "difference", HEADLINE.section, HEADLINE.label)
    if not found or found["estimate"] is None:
        return "same"
    low, high = found.get("interval_holm") or found["interval"]
    return "better" if low > 0 else "worse" if high < 0 else "open"


def weakest_categories(found: Mapping[str, Any], model: str) -> list[str]:
    """The categories with the lowest Recall@20 among those with enough positives; OTHER and NO_CATEGORY are none."""
    told = []
    for category, segment in found["segments"].get("category", {}).items():
        recall = value_at(segment, "models", model, HEADLINE.label)
        if category not in (OTHER, NO_CATEGORY) and recall is not None and segment["num_positives"] >= _MANY:
            told.append((recall, category))
    return [category for _, category in sorted(told)[:_WEAKEST]] if len(told) > _WEAKEST else []
