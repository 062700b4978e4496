"""Fit what a run's models are made of, up to one cutoff. A new kind of table is one entry in FITTERS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from pyspark.sql import DataFrame

from recsys_spark.baselines.category_popularity import fit_category_popularity
from recsys_spark.baselines.cost import cap_rows
from recsys_spark.baselines.ease import fit_ease_weights
from recsys_spark.baselines.item_knn import fit_item_neighbours
from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.matrices import FittedTable, knn_source, user_item_matrix
from recsys_spark.baselines.nmf import fit_nmf_factors
from recsys_spark.baselines.popularity import FittedPopularity, fit_popularity
from recsys_spark.baselines.registry import Fitted, ModelSettings, tables_of
from recsys_spark.baselines.segment_fit import fit_segment_popularity
from recsys_spark.baselines.tifu_knn import fit_tifu_vectors
from recsys_spark.baselines.user_knn import fit_user_neighbours
from recsys_spark.contracts.artifacts import (
    CATEGORY_POPULARITY,
    CUSTOMER_ID_MAP,
    EASE_WEIGHTS,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEM_NEIGHBOURS,
    ITEM_POPULARITY,
    KNN_SOURCE,
    NMF_FACTORS,
    SEGMENT_POPULARITY,
    SEQUENCES,
    TIFU_VECTORS,
    USER_ITEM_MATRIX,
    USER_NEIGHBOURS,
    Artifact,
)
from recsys_spark.contracts.columns import SPLITS
from recsys_spark.stage import StageIO


@dataclass(frozen=True)
class Fit:
    """One fit: what it may know, and where it finds it. histories: of `customer_histories`, over all time."""

    io: StageIO
    name: str
    cutoff_time: str
    histories: DataFrame
    settings: ModelSettings
    seed: int
    facts: dict[str, float] = field(default_factory=dict)  # what the results should tell about the making

    def own(self, artifact: Artifact) -> DataFrame:
        """A table that this fit has written already."""
        return self.io.read(artifact, fit=self.name)

    def scratch(self, artifact: Artifact) -> str:
        """A path where nothing lies yet, that all executors reach; gone when the stage ends."""
        return self.io.scratch(f"{artifact.name}_{self.name}")

    @cached_property
    def capped_source(self) -> DataFrame:
        """KNN_SOURCE with the newest items of heavy customers: a table on disk, which both KNNs read several times."""
        source = self.own(KNN_SOURCE)
        kept, share_cut = cap_rows(source, self.settings.knn.max_items_per_customer, time="last_time")
        self.facts["knn_share_cut"] = share_cut
        return self.io.materialise(f"capped_source_{self.name}", kept) if share_cut else source


def write_tables(fit: Fit, models: Sequence[str]) -> dict[str, float]:
    """Publish ITEM_POPULARITY of the fit and the tables that its models need; returns facts for the results."""
    io, recent_days = fit.io, fit.settings.baselines.recent_days
    counts = fit_popularity(io.read(INTERACTIONS_CLEAN), io.read(ITEM_ID_MAP), fit.cutoff_time, recent_days)
    io.write(ITEM_POPULARITY, counts, fit=fit.name)
    for artifact in tables_of(models, fit.settings):
        if artifact.keys:  # what knows no cutoff, the stage has written
            io.write(artifact, FITTERS[artifact.name](fit), fit=fit.name)
    return fit.facts


def fitted_tables(io: StageIO, fit_name: str, models: Sequence[str], settings: ModelSettings) -> Fitted:
    """What a fit has left of what some models need, as `build_model` takes it."""
    tables = {
        artifact.name: FittedTable(*io.path_and_content(artifact, **({"fit": fit_name} if artifact.keys else {})))
        for artifact in tables_of(models, settings)
    }
    popularity = FittedPopularity(*io.path_and_content(ITEM_POPULARITY, fit=fit_name))
    return Fitted(popularity, partial(load_codes, *io.path_and_content(ITEM_ID_MAP)), tables)


def _knn_source(fit: Fit) -> DataFrame:
    io = fit.io
    return knn_source(io.read(INTERACTIONS_CLEAN), io.read(ITEM_ID_MAP), io.read(CUSTOMER_ID_MAP), fit.cutoff_time)


def _user_item_matrix(fit: Fit) -> DataFrame:
    every = fit.io.read(SEQUENCES, split=SPLITS[0])
    for split in SPLITS[1:]:
        every = every.unionByName(fit.io.read(SEQUENCES, split=split))
    return user_item_matrix(every, fit.cutoff_time)


def _item_neighbours(fit: Fit) -> DataFrame:
    return fit_item_neighbours(fit.capped_source, fit.settings.knn, fit.scratch(ITEM_NEIGHBOURS))


def _user_neighbours(fit: Fit) -> DataFrame:
    return fit_user_neighbours(fit.capped_source, fit.settings.knn, fit.scratch(USER_NEIGHBOURS))


def _ease_weights(fit: Fit) -> DataFrame:
    return fit_ease_weights(fit.own(KNN_SOURCE), fit.settings.ease, fit.scratch(EASE_WEIGHTS))


def _nmf_factors(fit: Fit) -> DataFrame:
    return fit_nmf_factors(fit.own(USER_ITEM_MATRIX), fit.settings.nmf, fit.seed, fit.scratch(NMF_FACTORS))


def _category_popularity(fit: Fit) -> DataFrame:
    counts = fit.own(ITEM_POPULARITY)
    return fit_category_popularity(fit.io.read(INTERACTIONS_CLEAN), fit.io.read(ITEM_ID_MAP), counts, fit.cutoff_time)


def _segment_popularity(fit: Fit) -> DataFrame:
    lines, items, options = fit.io.read(INTERACTIONS_CLEAN), fit.io.read(ITEM_ID_MAP), fit.settings.baselines
    days, categories = options.recent_days, fit.own(CATEGORY_POPULARITY)
    return fit_segment_popularity(lines, items, categories, fit.cutoff_time, days, options.segments)


FITTERS: dict[str, Callable[[Fit], DataFrame]] = {
    KNN_SOURCE.name: _knn_source,
    USER_ITEM_MATRIX.name: _user_item_matrix,
    ITEM_NEIGHBOURS.name: _item_neighbours,
    USER_NEIGHBOURS.name: _user_neighbours,
    EASE_WEIGHTS.name: _ease_weights,
    CATEGORY_POPULARITY.name: _category_popularity,
    SEGMENT_POPULARITY.name: _segment_popularity,
    TIFU_VECTORS.name: lambda fit: fit_tifu_vectors(fit.histories, fit.cutoff_time, fit.settings.tifu),
    NMF_FACTORS.name: _nmf_factors,
}
