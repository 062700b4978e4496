"""The evaluation as a table for the terminal, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from recsys_spark.evaluation.ranking_metrics import HEADLINE, MONEY, PER_BASKET, PER_POSITIVE, Metric, metric_of

WIDTH = 100
_NAME_WIDTH = 34
_LEGEND = (
    "R recall per positive, bR per basket, $R by money; * best on val by R@20 of the protocol",
    "masked_seen hides what was bought before except the positive itself: optimistic, for comparison only",
)
_COLUMNS = (
    ("R@5", Metric(PER_POSITIVE, "recall", 5)),
    ("R@20", HEADLINE),
    ("R@100", Metric(PER_POSITIVE, "recall", 100)),
    ("NDCG@20", Metric(PER_POSITIVE, "ndcg", 20)),
    ("MRR@20", Metric(PER_POSITIVE, "mrr", 20)),
    ("bR@20", Metric(PER_BASKET, "recall", 20)),
    ("$R@20", Metric(MONEY, "recall", 20)),
)


def evaluation_table(evaluation: Mapping[str, Any]) -> str:
    """Every split, protocol and model with its main means; a star marks the model chosen on val."""
    lines = []
    for split, result in evaluation["split"].items():
        for protocol, found in result["protocols"].items():
            lines += ["", _title(split, protocol, found), _row("model", [title for title, _ in _COLUMNS])]
            for model, means in found["models"].items():
                mark = " *" if evaluation["best"].get(protocol) == model else ""
                values = [_number(metric_of(means, metric)) for _, metric in _COLUMNS]
                lines.append(_row(_cut(model, _NAME_WIDTH - len(mark)) + mark, values))
    lines += ["", *_LEGEND]
    for warning in evaluation.get("warnings", ()):
        lines += wrap(f"warning: {warning}", WIDTH, subsequent_indent="  ")
    return "\n".join(lines).strip("\n")


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """Recall@20 of both runs and their difference, for every protocol and pair of models, and what may explain it."""
    counts = comparison["positives"]
    lines = [
        f"{comparison['split']}: {counts['common']:,} common positives of {counts['first']:,} and {counts['second']:,}"
    ]
    for protocol, pairs in comparison["protocols"].items():
        lines += ["", _row(protocol, ["first", "second", "change", "from", "to", "p"])]
        for name, pair in pairs.items():
            found = pair[PER_POSITIVE][HEADLINE.label]
            numbers = [found["first"], found["second"], found["estimate"], *found["interval"], found["p_value"]]
            lines.append(_row(_cut(name, _NAME_WIDTH), [_number(value) for value in numbers]))
    lines += ["", "R@20 per positive; change is second minus first with its 95 % interval"]
    for kind, pairs in comparison["what_differs"].items():
        lines += [_cut(f"{kind} {name}: {first} -> {second}", WIDTH) for name, (first, second) in pairs.items()]
    return "\n".join(lines)


def what_if_table(found: Mapping[str, Any]) -> str:
    """Each metric without and with the rules of the business, per protocol, and what the rules kept out.

    found: what `cost_of_rules` returns.
    """
    lines = []
    for protocol, result in found["protocols"].items():
        lines += ["", f"{found['split']}, {protocol}, {result['model']}: {result['num_positives']:,} positives"]
        lines.append(_row("metric", ["before", "after", "change", "from", "to", "p"]))
        for section, metrics in result["metrics"].items():
            for label, change in metrics.items():
                numbers = [
                    change["before"],
                    change["after"],
                    change["estimate"],
                    *change["interval"],
                    change["p_value"],
                ]
                lines.append(_row(f"{section} {label}", [_number(value) for value in numbers]))
        lines += [f"  {name.replace('_', ' ')}: {count:,}" for name, count in result["removed"].items()]
    lines += ["", "before and after the rules; change with its 95 % interval; removed: entries passed over before a"]
    return "\n".join([*lines, "list was full"]).strip("\n")


def spread_table(found: Mapping[str, Any]) -> str:
    """Test Recall@20 of every model over several runs; found: what run_folds or run_seeds returns."""
    lines = [f"run {number}: {name}" for number, name in enumerate(found["runs"])]
    for protocol, models in found["protocols"].items():
        lines += ["", _row(protocol, ["mean", "sd", *(f"run {number}" for number in range(len(found["runs"])))])]
        for model, sections in models.items():
            recall = sections[PER_POSITIVE][HEADLINE.label]
            numbers = [recall["mean"], recall["sd"], *recall["values"]]
            lines.append(_row(_cut(model, _NAME_WIDTH), [_number(value) for value in numbers]))
    return "\n".join([*lines, "", "R@20 per positive on test; sd is the standard deviation between runs"])


def _title(split: str, protocol: str, found: Mapping[str, Any]) -> str:
    return f"{split}, {protocol}: {found['num_positives']:,} positives in {found['num_queries']:,} baskets"


def _row(name: str, values: list[str]) -> str:
    return f"{name:<{_NAME_WIDTH}}" + "".join(f"{value:>9}" for value in values)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
