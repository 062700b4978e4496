"""Choose what each model weighs when it scores, per protocol, by Recall@20 on a sample of the val queries.

Nothing is fitted here: the tables of `fit=train` serve val, and those of `fit=val`, made with the same config, serve
test with what val chose. What a table is made with (shrinkage, l2, ...) comes from the config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.errors import ConfigError

MAX_TRIALS = 10
K = 20
Changes = Mapping[str, float]  # section.key -> value


def _grid(**values: Iterable[float]) -> list[Changes]:
    """All combinations; a key is written section__key, or section__part__key."""
    names = [name.replace("__", ".") for name in values]
    return [dict(zip(names, chosen, strict=True)) for chosen in product(*values.values())]


def _neighbour_grid(section: str, light_self_weight: float) -> list[Changes]:
    """What tells most of where repeats and first purchases differ; all combinations would be too many.

    Repeats want a long memory and little weight on the profile itself; first purchases the trend, and some of them
    profiles in which every item counts once.
    """
    keys = [f"{section}.{name}" for name in ("half_life_days", "self_weight", "profile_exponent", "trend_exponent")]
    own = light_self_weight
    tried = [(240.0, own, 1.0, 0.0), (240.0, own, 1.0, 0.5), (240.0, own, 1.0, 1.0), (30.0, own, 1.0, 1.0)]
    tried += [(60.0, 1.0, 0.0, 0.5), (60.0, 1.0, 0.0, 1.0)]
    tried += [(240.0, 1.0, 0.0, 0.0), (240.0, 1.0, 0.0, 0.5), (240.0, 1.0, 0.0, 1.0)]
    return [dict(zip(keys, values, strict=True)) for values in tried]


GRIDS: dict[str, list[Changes]] = {
    "personal_frequency": _grid(baselines__half_life_days=(15.0, 30.0, 120.0, 240.0, 1000.0)),
    "rolling_popularity": _grid(baselines__recent_days=(3, 7, 14, 56)),
    "category_popularity": _grid(baselines__half_life_days=(15.0, 240.0, 1000.0)),
    "segment_popularity": _grid(baselines__segments__smoothing=(100.0, 300.0, 1000.0, 10_000.0)),
    "item_knn": _neighbour_grid("knn", light_self_weight=0.3),
    "user_knn": _grid(knn__half_life_days=(30.0, 240.0), knn__self_weight=(0.3, 5.0), knn__trend_exponent=(0.0, 1.0)),
    "ease": _neighbour_grid("ease", light_self_weight=0.05),
    "tifu_knn": _grid(tifu__alpha=(0.3, 0.5, 0.9), tifu__num_neighbours=(50, 300)),
    "nmf": _grid(nmf__half_life_days=(15.0, 30.0, 240.0, 1000.0)),
    "blend": _grid(
        baselines__blend__neighbours_weight=(0.05, 0.2, 0.5), baselines__blend__popularity_weight=(0.0, 0.05, 0.2)
    ),
}


def trials(name: str) -> list[Changes]:
    """What is tried for a model: the config as it is, and its grid; at most MAX_TRIALS in all."""
    return [{}, *GRIDS.get(name, [])]


def changed(settings: ModelSettings, changes: Changes) -> ModelSettings:
    """The settings with some values changed; raises ConfigError for a key that they lack.

    >>> from recsys_spark.contracts.config import PipelineConfig
    >>> config = PipelineConfig()
    >>> settings = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    >>> changed(settings, {"baselines.blend.neighbours_weight": 0.5}).baselines.blend.neighbours_weight
    0.5
    """
    for key, value in changes.items():
        settings = _with_value(settings, key.split("."), value, key)
    return settings


def tune(name: str, recall: Callable[[Changes], Mapping[str, float]]) -> list[dict[str, Any]]:
    """Every trial of a model with its Recall@20 by protocol. recall: ranks the sample with some changes."""
    return [{"changes": dict(changes), "recall@20": dict(recall(changes))} for changes in trials(name)]


def choose(tried: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The changes that did best under each protocol; of equals the first, so the config as it is stays."""
    return {
        protocol: max(tried, key=lambda trial: trial["recall@20"].get(protocol, 0.0))["changes"]
        for protocol in LIST_PROTOCOLS
    }


def chosen_settings(settings: ModelSettings, chosen: Mapping[str, Any], name: str, protocol: str) -> ModelSettings:
    """The settings of a model and protocol. chosen: model -> protocol -> changes; what it lacks stays as it is."""
    return changed(settings, chosen.get(name, {}).get(protocol, {}))


def _with_value(part: Any, path: list[str], value: float, key: str) -> Any:
    if not hasattr(part, path[0]):
        raise ConfigError(f"tuning names the key {key}, which the config lacks")
    below = getattr(part, path[0])
    return replace(part, **{path[0]: value if len(path) == 1 else _with_value(below, path[1:], value, key)})
