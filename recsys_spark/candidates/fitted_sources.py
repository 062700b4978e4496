"""The sources of a fit as published artifacts leave them, and the queries that are put to them."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.fitting import fitted_tables
from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.candidates.retrieve import Retriever
from recsys_spark.candidates.sources import build_sources, models_behind, towers_behind
from recsys_spark.contracts.artifacts import QUERIES, SPLIT_CUTOFFS
from recsys_spark.contracts.candidate_config import CandidatesConfig
from recsys_spark.retriever.rankings import tower_model
from recsys_spark.sequences.split import cutoff
from recsys_spark.stage import StageIO

_BUCKETS = 1_000_000


def fitted_retriever(
    io: StageIO, settings: ModelSettings, options: CandidatesConfig, trained: tuple[str, ...], fit: str
) -> Retriever:
    """All sources that the config switches on, over what the fit has left. trained: names of the towers there are."""
    quotas = options.quotas
    fitted = fitted_tables(io, fit, models_behind(quotas), settings)
    towers = {
        # The plain form knows customers by their index, which says nothing of new ones: the history's mean serves it.
        tower: tower_model(io, tower, "history" if tower == "plain" else "tower", fit)
        for tower in towers_behind(quotas, trained)
    }
    sources = build_sources(quotas, fitted, settings, towers)
    return Retriever(sources, options.max_per_query, options.repeat_share)


def ranker_queries(io: StageIO, split: str, num_train: int, seed: int) -> DataFrame:
    """The queries of a split that candidates are made for: of `train` those after fold_end, about num_train of them.

    The sources of fit=fold know nothing of these. Which queries are taken follows from hashes of customer and time, so
    that no later customer changes it, as it would change the numbers that a query_id is made of.
    """
    queries = io.read(QUERIES, split=split)
    if split != "train":
        return queries
    later = queries.filter(F.col("event_time") > cutoff(io.read_json(SPLIT_CUTOFFS)["fold_end"]))
    share = min(num_train / max(later.count(), 1), 1.0)
    bucket = F.pmod(F.xxhash64("customer_id", "event_time", F.lit(seed)), F.lit(_BUCKETS))
    return later.filter(bucket < int(share * _BUCKETS))
