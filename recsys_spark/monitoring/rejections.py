"""Drift of what cleaning rejects: lines that the other measures never see, such as those that lost their quantity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

from recsys_spark.contracts.artifacts import CLEANING_REPORT, RAW_LINES
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.monitoring.measures import Measure, above, not_measured
from recsys_spark.monitoring.runs import SeenRun
from recsys_spark.source_files import is_source

GROUP, NAME = "lines", "rejected"
_ALL = "all rules"


@dataclass(frozen=True)
class Rejections:
    """Lines that were read, and how many of them each rule took out."""

    read: int
    by_rule: Mapping[str, int]

    def shares(self) -> dict[str, float]:
        """Of the lines read, what each rule took out, and all together."""
        counts = {**self.by_rule, _ALL: sum(self.by_rule.values())}
        return {rule: count / self.read for rule, count in counts.items()}

    def without(self, earlier: Rejections) -> Rejections | None:
        """What is left when the earlier lines are taken off, None where they cannot be among these."""
        counts = {rule: self.by_rule.get(rule, 0) - earlier.by_rule.get(rule, 0) for rule in earlier.by_rule}
        left = Rejections(self.read - earlier.read, {**self.by_rule, **counts})
        return left if left.read > 0 and min(left.by_rule.values(), default=0) >= 0 else None


def rejections_of(run: SeenRun, left_out: tuple[str, ...] = ()) -> Rejections | None:
    """Those of a run, None for one without cleaning_report.json. left_out: rules that are not counted."""
    if not run.has(CLEANING_REPORT):
        return None
    funnel = run.document(CLEANING_REPORT)["funnel"]
    counts = {each["rule"]: each["lines"] for each in funnel["rules"] if each["rule"] not in left_out}
    return Rejections(funnel["lines_read"], counts)


def rejected_of_runs(reference: SeenRun, current: SeenRun, config: MonitorConfig) -> Measure:
    """Of two runs; where the current one read more files beside all of the reference's, of the lines that came so."""
    first, second = rejections_of(reference), rejections_of(current)
    if first is not None and second is not None and _sources(reference).items() <= _sources(current).items():
        second = second.without(first) or second
    return rejected(first, second, config)


def rejected(reference: Rejections | None, current: Rejections | None, config: MonitorConfig) -> Measure:
    """The largest change of the share that one rule takes out, or all of them together."""
    if reference is None or current is None:
        return not_measured(GROUP, NAME, "one of the sides has no cleaning_report.json")
    if not (reference.read and current.read):
        return not_measured(GROUP, NAME, "one of the sides has no line")
    first, second = reference.shares(), current.shares()
    pairs = {rule: (first.get(rule, 0.0), second.get(rule, 0.0)) for rule in {**second, **first}}
    # Of equal changes the first, which is a rule's.
    most = max(pairs, key=lambda rule: round(abs(pairs[rule][1] - pairs[rule][0]), 9))
    before, after = pairs[most]
    pooled, scale = (before + after) / 2, 1 / reference.read + 1 / current.read
    noise = NormalDist().inv_cdf(1 - config.null_level / 2) * sqrt(pooled * (1 - pooled) * scale)
    detail: dict[str, Any] = {rule: list(shares) for rule, shares in pairs.items() if any(shares)}
    sentence = (
        f"of the lines read {first[_ALL]:.1%} were rejected in the reference and {second[_ALL]:.1%} of the current "
        f"ones; most changed what {'the rules take' if most == _ALL else most + ' takes'} out, from {before:.1%} to "
        f"{after:.1%}"
    )
    limit = config.thresholds.rejected_lines + noise
    return above(GROUP, NAME, abs(after - before), limit, sentence, rules=detail, lines=[reference.read, current.read])


def _sources(run: SeenRun) -> dict[str, str]:
    manifest = run.storage.manifest(RAW_LINES.path)
    inputs = manifest.inputs if manifest is not None else {}
    return {name: content for name, content in inputs.items() if is_source(name)}
