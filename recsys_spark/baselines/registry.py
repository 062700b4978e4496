"""Model names of the config -> what they are made of, and the models over it. A new model is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from recsys_spark.baselines.blend import Blend
from recsys_spark.baselines.category_popularity import CategoryPopularity
from recsys_spark.baselines.fallback import WithFallback
from recsys_spark.baselines.item_knn import NeighbourModel
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.new_items import NewItemNeighbours
from recsys_spark.baselines.nmf import Nmf
from recsys_spark.baselines.personal import PersonalFrequency
from recsys_spark.baselines.popularity import FittedPopularity, Popularity
from recsys_spark.baselines.ranking import Model
from recsys_spark.baselines.rolling import RollingPopularity
from recsys_spark.baselines.segment_popularity import SegmentPopularity
from recsys_spark.baselines.sentinel import NextInCatalogue
from recsys_spark.baselines.tifu_knn import TifuKnn
from recsys_spark.baselines.user_knn import UserKnn
from recsys_spark.contracts.artifacts import (
    CATEGORY_POPULARITY,
    EASE_WEIGHTS,
    ITEM_CONTENT,
    ITEM_DAYS,
    ITEM_NEIGHBOURS,
    KNN_SOURCE,
    MODEL_TABLES,
    NMF_FACTORS,
    SEGMENT_POPULARITY,
    TIFU_VECTORS,
    USER_ITEM_MATRIX,
    USER_NEIGHBOURS,
    Artifact,
)
from recsys_spark.contracts.model_config import (
    NEW_ITEMS,
    SENTINEL,
    BaselinesConfig,
    EaseConfig,
    KnnConfig,
    NmfConfig,
    TifuConfig,
)


@dataclass(frozen=True)
class ModelSettings:
    """The config sections of the baselines."""

    baselines: BaselinesConfig
    knn: KnnConfig
    ease: EaseConfig
    tifu: TifuConfig
    nmf: NmfConfig

    @property
    def without_own_items(self) -> ModelSettings:
        """The settings of neighbour models that leave what the customer bought before to others."""
        return replace(self, knn=replace(self.knn, self_weight=0.0), ease=replace(self.ease, self_weight=0.0))


@dataclass(frozen=True)
class Fitted:
    """What a model is built over. codes: loads the stock codes inside a task. tables: by artifact name."""

    popularity: FittedPopularity
    codes: Callable[[], pa.Array]
    tables: Mapping[str, FittedTable]

    def table(self, artifact: Artifact) -> FittedTable:
        return self.tables[artifact.name]


@dataclass(frozen=True)
class Entry:
    """How a model is built, and the tables it is built from, those that lead to them first."""

    build: Callable[[Fitted, ModelSettings], Model]
    needs: tuple[Artifact, ...] = ()


def build_model(name: str, fitted: Fitted, settings: ModelSettings) -> Model:
    """The model of that name over what was fitted; raises KeyError for a name the config would refuse."""
    return ENTRIES[name].build(fitted, settings)


def ranking_model(name: str, fitted: Fitted, settings: ModelSettings) -> Model:
    """The model of that name as it ranks, with what the config puts behind it."""
    return behind(build_model(name, fitted, settings), fitted, settings)


def behind(model: Model, fitted: Fitted, settings: ModelSettings) -> Model:
    """A model with the fallback of the config behind its own items; one that is popularity itself stays as it is."""
    fallback = settings.baselines.fallback
    if fallback == "recent_popularity" or model.name in _WITHOUT_FALLBACK:  # what every model has behind it anyway
        return model
    return WithFallback(model, build_model(fallback, fitted, settings))


def tables_of(models: Sequence[str], settings: ModelSettings) -> list[Artifact]:
    """The tables that some models and the fallback are made of, each after those it is made from."""
    parts = [settings.baselines.fallback, *([settings.baselines.blend.neighbours] if "blend" in models else [])]
    needed = {artifact.name for name in [*models, *parts] for artifact in ENTRIES[name].needs}
    return [artifact for artifact in MODEL_TABLES if artifact.name in needed]


def _item_knn(fitted: Fitted, settings: ModelSettings) -> Model:
    knn = settings.knn
    return _neighbours("item_knn", fitted, ITEM_NEIGHBOURS, knn, profile_items=knn.profile_items)


def _user_knn(fitted: Fitted, settings: ModelSettings) -> Model:
    return UserKnn(fitted.popularity, fitted.table(USER_NEIGHBOURS), fitted.table(KNN_SOURCE), settings.knn)


def _ease(fitted: Fitted, settings: ModelSettings) -> Model:
    return _neighbours("ease", fitted, EASE_WEIGHTS, settings.ease, by_target=True)


def _neighbours(
    name: str,
    fitted: Fitted,
    weights: Artifact,
    options: KnnConfig | EaseConfig,
    by_target: bool = False,
    profile_items: int = 0,
) -> Model:
    return NeighbourModel(
        name,
        fitted.popularity,
        fitted.table(weights),
        half_life_days=options.half_life_days,
        self_weight=options.self_weight,
        trend_exponent=options.trend_exponent,
        profile_exponent=options.profile_exponent,
        by_target=by_target,
        profile_items=profile_items,
    )


def _personal(fitted: Fitted, settings: ModelSettings) -> Model:
    return PersonalFrequency(fitted.popularity, settings.baselines.half_life_days)


def _rolling(fitted: Fitted, settings: ModelSettings) -> Model:
    return RollingPopularity(fitted.popularity, fitted.table(ITEM_DAYS), settings.baselines.recent_days)


def _category(fitted: Fitted, settings: ModelSettings) -> Model:
    half_life_days = settings.baselines.half_life_days
    return CategoryPopularity(fitted.popularity, fitted.table(CATEGORY_POPULARITY), half_life_days)


def _segments(fitted: Fitted, settings: ModelSettings) -> Model:
    tables = fitted.table(SEGMENT_POPULARITY), fitted.table(CATEGORY_POPULARITY)
    return SegmentPopularity(fitted.popularity, *tables, settings.baselines.segments.smoothing)


def _new_items(fitted: Fitted, settings: ModelSettings) -> Model:
    baselines = settings.baselines
    content = fitted.table(ITEM_CONTENT)
    return NewItemNeighbours(fitted.popularity, content, baselines.half_life_days, baselines.new_items_prior)


def _blend(fitted: Fitted, settings: ModelSettings) -> Model:
    blend = settings.baselines.blend
    # The repeats are those of personal_frequency.
    neighbours = build_model(blend.neighbours, fitted, settings.without_own_items)
    parts = ((_personal(fitted, settings), blend.personal_weight), (neighbours, blend.neighbours_weight))
    return Blend(fitted.popularity, parts, blend.popularity_weight)


def _tifu(fitted: Fitted, settings: ModelSettings) -> Model:
    return TifuKnn(fitted.popularity, fitted.table(TIFU_VECTORS), settings.tifu)


def _nmf(fitted: Fitted, settings: ModelSettings) -> Model:
    return Nmf(fitted.popularity, fitted.table(NMF_FACTORS), settings.nmf.l2, settings.nmf.half_life_days)


_WITHOUT_FALLBACK = (
    "popularity",
    "recent_popularity",
    "rolling_popularity",
    "segment_popularity",
    NEW_ITEMS,
    SENTINEL,
)
ENTRIES = {
    "popularity": Entry(lambda fitted, _: Popularity(fitted.popularity, by_recent=False)),
    "recent_popularity": Entry(lambda fitted, _: Popularity(fitted.popularity, by_recent=True)),
    "rolling_popularity": Entry(_rolling, needs=(ITEM_DAYS,)),
    "category_popularity": Entry(_category, needs=(CATEGORY_POPULARITY,)),
    "segment_popularity": Entry(_segments, needs=(CATEGORY_POPULARITY, SEGMENT_POPULARITY)),
    "personal_frequency": Entry(_personal),
    "item_knn": Entry(_item_knn, needs=(KNN_SOURCE, ITEM_NEIGHBOURS)),
    "user_knn": Entry(_user_knn, needs=(KNN_SOURCE, USER_NEIGHBOURS)),
    "ease": Entry(_ease, needs=(KNN_SOURCE, EASE_WEIGHTS)),
    "tifu_knn": Entry(_tifu, needs=(TIFU_VECTORS,)),
    "nmf": Entry(_nmf, needs=(USER_ITEM_MATRIX, NMF_FACTORS)),
    "blend": Entry(_blend),
    NEW_ITEMS: Entry(_new_items, needs=(ITEM_CONTENT,)),
    SENTINEL: Entry(lambda fitted, _: NextInCatalogue(fitted.popularity, fitted.codes)),
}
