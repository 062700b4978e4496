"""The sources of candidates: which model stands behind each, and how many items it may propose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recsys_spark.baselines.item_knn import NeighbourModel
from recsys_spark.baselines.ranking import Model
from recsys_spark.baselines.registry import Fitted, ModelSettings, build_model
from recsys_spark.candidates.due import DueItems
from recsys_spark.candidates.last_basket import LastBasket
from recsys_spark.contracts.candidate_config import REPEAT_SOURCES, TOWER_SOURCES, QuotasConfig, source_names

_MODELS = {  # whose fitted tables a source is made of
    "own": "personal_frequency",
    "due": "personal_frequency",
    "item_knn": "item_knn",
    "user_knn": "user_knn",
    "ease": "ease",
    "last_basket": "item_knn",
    "rolling_popularity": "rolling_popularity",
    "category_popularity": "category_popularity",
}


@dataclass(frozen=True)
class Source:
    """A source as it travels to the tasks. proposes_seen: items bought before, else all others."""

    name: str
    model: Model
    quota: int
    proposes_seen: bool


def models_behind(quotas: QuotasConfig) -> tuple[str, ...]:
    """The baselines that must be fitted for the sources that are switched on."""
    return tuple(dict.fromkeys(model for source, model in _MODELS.items() if quotas.of(source)))


def towers_behind(quotas: QuotasConfig, trained: tuple[str, ...]) -> tuple[str, ...]:
    """The towers that are sources: those switched on among those that are trained."""
    return tuple(tower for source, tower in TOWER_SOURCES.items() if quotas.of(source) and tower in trained)


def build_sources(
    quotas: QuotasConfig, fitted: Fitted, settings: ModelSettings, towers: Mapping[str, Model]
) -> tuple[Source, ...]:
    """One source per name of `source_names`. towers: the trained ones, by name."""
    # What was bought before, the customer's own items propose: the others spend their quotas on the rest.
    new_only = settings.without_own_items
    found = []
    for name in source_names(quotas, tuple(towers)):
        model = towers[TOWER_SOURCES[name]] if name in TOWER_SOURCES else _build(name, fitted, new_only)
        found.append(Source(name, model, quotas.of(name), name in REPEAT_SOURCES))
    return tuple(found)


def _build(name: str, fitted: Fitted, settings: ModelSettings) -> Model:
    if name == "due":
        return DueItems(fitted.popularity)
    model = build_model(_MODELS[name], fitted, settings)
    if name != "last_basket":
        return model
    assert isinstance(model, NeighbourModel)
    return LastBasket(model)
