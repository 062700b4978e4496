"""A model of a run by its name, whichever kind it is, over what a fit has left."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from recsys_spark.baselines.fitting import fitted_tables
from recsys_spark.baselines.ranking import Model
from recsys_spark.baselines.registry import ModelSettings, behind, build_model
from recsys_spark.baselines.tuning import chosen_settings
from recsys_spark.contracts.artifacts import BASELINE_RESULTS
from recsys_spark.contracts.candidate_config import CandidatesConfig, FeaturesConfig
from recsys_spark.contracts.ranker_config import RankerConfig
from recsys_spark.contracts.retriever_config import RetrieverConfig, ranked_as
from recsys_spark.ranker.two_stage import TwoStageSettings, fitted_two_stage
from recsys_spark.retriever.rankings import tower_model
from recsys_spark.stage import StageIO


@dataclass(frozen=True)
class NamedModelSettings:
    """The config sections of whatever may rank. hist_max: queries.hist_max."""

    models: ModelSettings
    retriever: RetrieverConfig
    candidates: CandidatesConfig
    features: FeaturesConfig
    ranker: RankerConfig
    hist_max: int


def named_model(io: StageIO, name: str, protocol: str, fit: str, settings: NamedModelSettings) -> Model:
    """The model of that name, with the fallback behind it; a baseline as it was tuned for the protocol."""
    own = _own_model(io, name, protocol, fit, settings)
    return behind(own, fitted_tables(io, fit, [], settings.models), settings.models)


def _own_model(io: StageIO, name: str, protocol: str, fit: str, settings: NamedModelSettings) -> Model:
    towers = settings.retriever.towers
    found = next((pair for pair in product(towers, settings.retriever.rank_by) if ranked_as(*pair) == name), None)
    if found is not None:
        return tower_model(io, *found, fit=fit)
    if name in settings.ranker.ranked:
        both = TwoStageSettings(settings.models, settings.candidates, settings.features, towers, settings.hist_max)
        return fitted_two_stage(io, both, fit=fit)
    chosen = chosen_settings(settings.models, io.read_json(BASELINE_RESULTS)["tuning"]["chosen"], name, protocol)
    return build_model(name, fitted_tables(io, fit, [name], chosen), chosen)
