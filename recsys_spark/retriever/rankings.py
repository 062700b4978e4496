"""The trained towers as models: ranking the queries of a split, and recommending."""

from __future__ import annotations

from functools import partial
from typing import Any

from pyspark.sql import DataFrame

from recsys_spark.baselines.list_tables import Always, ListTables
from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.split_ranking import asked_in, publish_lists
from recsys_spark.candidates.tower_files import FittedFile, TowerFiles
from recsys_spark.candidates.vector_model import TwoTowerModel
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.retriever_config import RetrieverConfig, ranked_as
from recsys_spark.stage import StageIO


def tower_model(io: StageIO, tower: str, by: str, fit: str) -> TwoTowerModel:
    """A published tower as a model. by: see TwoTowerModel."""

    def file(artifact: artifacts.Artifact) -> FittedFile:
        return FittedFile(*io.path_and_content(artifact, fit=fit, tower=tower))

    _, id_map = io.path_and_content(artifacts.ITEM_ID_MAP)
    files = TowerFiles(
        item_embeddings=file(artifacts.ITEM_EMBEDDINGS),
        item_offsets=file(artifacts.ITEM_OFFSETS),
        user_tower=file(artifacts.USER_TOWER),
        index=file(artifacts.ITEM_INDEX),
        index_card=file(artifacts.ITEM_INDEX_CARD),
        id_map=id_map,
    )
    popularity = FittedPopularity(*io.path_and_content(artifacts.ITEM_POPULARITY, fit=fit))
    return TwoTowerModel(ranked_as(tower, by), popularity, files, by)


def rank_queries(
    io: StageIO, settings: RetrieverConfig, histories: DataFrame, fit: str, split: str
) -> dict[str, dict[str, Any]]:
    """Rank a split's queries with all towers of the fit; returns by tower what `publish_lists` tells of its models."""
    codes = partial(load_codes, *io.path_and_content(artifacts.ITEM_ID_MAP))
    models = {tower: [tower_model(io, tower, by, fit) for by in settings.rank_by] for tower in settings.towers}
    kernels = {model.name: ListTables(Always((model,)), codes) for own in models.values() for model in own}
    told = publish_lists(io, asked_in(io, histories, split), kernels, fit, split)
    return {tower: {model.name: told[model.name] for model in own} for tower, own in models.items()}
