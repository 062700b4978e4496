"""What counts as a success of the two stages, by an evaluation that is written by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.quality import GOALS, against_best_single, against_gbdt
from recsys_spark.contracts.errors import DataError


def evaluation(ratio: float, interval: list[float]) -> dict[str, Any]:
    """A test in which every metric of two_stage is `ratio` times 0.5, that of the best single model."""
    protocols: dict[str, Any] = {}
    for protocol, section, metric, _ in GOALS:
        models = protocols.setdefault(
            protocol, {"reference": "ease", "models": {"ease": {}, "two_stage": {"waterfall": {}, "difference": {}}}}
        )["models"]
        models["ease"].setdefault(section, {})[metric] = 0.5
        models["two_stage"].setdefault(section, {})[metric] = 0.5 * ratio
        moved = {"estimate": 0.5 * ratio - 0.5, "interval": interval}
        models["two_stage"]["difference"].setdefault(section, {})[metric] = moved
    return {"split": {"test": {"protocols": protocols}}}


def outcomes(ratio: float, interval: list[float]) -> dict[str, list[bool]]:
    """Whether the ratios and the lower ends hold, in the order of GOALS."""
    found = against_best_single(evaluation(ratio, interval), "shop")
    ends = [figure for figure in found if ".lower_end." in figure.name]
    return {
        "ratio": [figure.holds for figure in found if figure not in ends],
        "lower_end": [figure.holds for figure in ends],
    }


def test_a_ratio_that_chance_could_have_made_is_no_success():
    assert outcomes(1.2, [0.01, 0.2]) == {"ratio": [True] * 3, "lower_end": [True] * 3}
    assert outcomes(1.06, [-0.001, 0.06]) == {"ratio": [True, True, False], "lower_end": [False] * 3}


@pytest.mark.parametrize("other", ["b", None])
def test_rankers_of_other_shards_are_not_held_against_each_other(other):
    def run(content: str | None) -> Any:
        manifest = SimpleNamespace(content=content) if content else None
        return SimpleNamespace(storage=SimpleNamespace(root="/run", manifest=lambda _: manifest))

    with pytest.raises(DataError, match="ranker_feats_train_shards .* different rows"):
        against_gbdt(run("a"), run(other), "shop")
