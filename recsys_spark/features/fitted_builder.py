"""The features of a fit as published artifacts leave them."""

from __future__ import annotations

from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.artifacts import CUSTOMER_PLACES, ITEM_DAYS, ITEM_EMBEDDINGS, ITEM_FACTS, ITEM_PLACES
from recsys_spark.contracts.candidate_config import FeaturesConfig, QuotasConfig, source_names
from recsys_spark.features.build import FeatureBuilder
from recsys_spark.stage import StageIO


def fitted_builder(
    io: StageIO, options: FeaturesConfig, quotas: QuotasConfig, towers: tuple[str, ...], hist_max: int, fit: str
) -> FeatureBuilder:
    """towers: names of those that are trained; similarities are those of the first. hist_max: queries.hist_max."""
    vectors = FittedFile(*io.path_and_content(ITEM_EMBEDDINGS, fit=fit, tower=towers[0])) if towers else None
    return FeatureBuilder(
        facts=FittedTable(*io.path_and_content(ITEM_FACTS, fit=fit)),
        daily_sales=FittedTable(*io.path_and_content(ITEM_DAYS)),
        item_places=FittedTable(*io.path_and_content(ITEM_PLACES, fit=fit)),
        customer_places=FittedTable(*io.path_and_content(CUSTOMER_PLACES, fit=fit)),
        vectors=vectors,
        sources=source_names(quotas, towers),
        which=options.set,
        hist_max=hist_max,
        recent_items=options.recent_items,
        similar_items=options.similar_items,
    )
