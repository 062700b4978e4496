"""Model names of the config -> fitted models."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from recsys_spark.baselines.personal import PersonalFrequency
from recsys_spark.baselines.popularity import FittedPopularity, Popularity
from recsys_spark.baselines.ranking import Model
from recsys_spark.baselines.sentinel import NextInCatalogue
from recsys_spark.contracts.config import SENTINEL, BaselinesConfig


def build_model(
    name: str, popularity: FittedPopularity, codes: Callable[[], pa.Array], config: BaselinesConfig
) -> Model:
    """The model of that name over what was fitted; raises KeyError for a name the config would refuse.

    codes: loads, inside a task, the stock codes as an array whose position is the item_idx.
    """
    if name == SENTINEL:
        return NextInCatalogue(popularity, codes)
    if name == "personal_frequency":
        return PersonalFrequency(popularity, config.half_life_days)
    return Popularity(popularity, by_recent={"popularity": False, "recent_popularity": True}[name])
