"""What monitoring finds: figures, each with its threshold, what follows, and a sentence for who looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

FORMAT = 1  # of drift.json; docs/schemas/drift.schema.json describes it
OK, DRIFTED, INFO, NOT_MEASURED = "ok", "drift", "info", "not_measured"
_DIGITS = 6  # sums of doubles differ beyond these with the partitioning


@dataclass(frozen=True)
class Measure:
    """One figure. alarm: the side of the threshold that alarms, `above` or `below`; null where no side does.

    group: what it looks at, such as `features`; name: of the figure, such as `psi.price_z`. detail: what a plot or a
    closer look needs, small whatever the data.
    """

    group: str
    name: str
    verdict: str
    sentence: str
    value: float | None = None
    threshold: float | None = None
    alarm: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def above(group: str, name: str, value: float, threshold: float, sentence: str, **detail: Any) -> Measure:
    """A figure that alarms above its threshold."""
    return _held(group, name, value, threshold, "above", value > threshold, sentence, detail)


def below(group: str, name: str, value: float, threshold: float, sentence: str, **detail: Any) -> Measure:
    """A figure that alarms below its threshold."""
    return _held(group, name, value, threshold, "below", value < threshold, sentence, detail)


def certain(measure: Measure, is_certain: bool) -> Measure:
    """The measure, whose alarm counts only where it is more than sampling error."""
    verdict = OK if measure.verdict == DRIFTED and not is_certain else measure.verdict
    return Measure(**{**vars(measure), "verdict": verdict})


def told(group: str, name: str, value: float, sentence: str, **detail: Any) -> Measure:
    """A figure without a threshold."""
    return Measure(group, name, INFO, sentence, round(value, _DIGITS), detail=tidy(detail))


def not_measured(group: str, name: str, sentence: str) -> Measure:
    """What could not be looked at, and why."""
    return Measure(group, name, NOT_MEASURED, sentence)


def drift_document(
    sides: dict[str, Any], thresholds: dict[str, float], measures: Sequence[Measure], what_differs: dict[str, Any]
) -> dict[str, Any]:
    """All of drift.json. sides: what was held against what; what_differs: of two runs, from `runs.what_differs`."""
    return {
        "format": FORMAT,
        **sides,
        "thresholds": thresholds,
        "alarms": [f"{measure.group}.{measure.name}" for measure in measures if measure.verdict == DRIFTED],
        "measures": [asdict(measure) for measure in measures],
        "what_differs": what_differs,
    }


def _held(
    group: str, name: str, value: float, limit: float, side: str, alarms: bool, sentence: str, detail: dict[str, Any]
) -> Measure:
    rounded = round(value, _DIGITS), round(limit, _DIGITS)
    return Measure(group, name, DRIFTED if alarms else OK, sentence, *rounded, side, tidy(detail))


def tidy(value: Any) -> Any:
    """The value with its numbers rounded, and null for what is no number.

    >>> tidy({"a": [0.12345678, float("nan")]})
    {'a': [0.123457, None]}
    """
    if isinstance(value, dict):
        return {name: tidy(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(each) for each in value]
    if isinstance(value, float):
        return round(value, _DIGITS) if isfinite(value) else None
    return value
