"""What ranker_results.json says of a ranker beside its training: within candidates, what it leans on, its odds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.artifacts import CANDIDATES, QUERIES, RANKER_BEST, RANKER_FEATS, SPLIT_OF_FIT
from recsys_spark.contracts.candidate_config import REPEAT_SOURCES
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.contracts.ranker_config import AnalysisConfig
from recsys_spark.evaluation.facts import of_judged
from recsys_spark.ranker.calibration import calibration, log_share_histogram
from recsys_spark.ranker.importance import permutation_importance
from recsys_spark.ranker.places import means, missed_positives, offered_positives, ranked_positives, resampled
from recsys_spark.ranker.shard_scores import score_shards
from recsys_spark.stage import StageIO

WITHOUT_RANKER = "candidates"  # the order in which they are proposed
END_TO_END = "end_to_end"  # positives that the candidates lack are missed
FORCED_RANKED = "forced_ranked_optimistic"  # they are ranked too, which says more than retrieval can give
_BUCKETS = 1 << 20


def analyse(
    io: StageIO, scored: Mapping[str, DataFrame], options: AnalysisConfig, evaluation: EvaluationConfig, seed: int
) -> dict[str, Any]:
    """`within_candidates` by split, order and protocol; `over_all_positives` of some queries likewise; `calibration`;
    `importance`. All of queries that are judged.

    scored: of `score_shards`, each split by the ranker of its fit.
    """

    def of_split(frame: DataFrame, split: str) -> DataFrame:
        return of_judged(frame, io.read(QUERIES, split=split), split, evaluation.test_end)

    scored = {split: of_split(frame, split) for split, frame in scored.items()}
    found: dict[str, Any] = {"within_candidates": {}, "over_all_positives": {}, "calibration": {}, "importance": []}
    for fit, split in SPLIT_OF_FIT.items():
        ranker = FittedFile(*io.path_and_content(RANKER_BEST, fit=fit))
        orders = {
            "two_stage": ranked_positives(scored[split]),
            WITHOUT_RANKER: offered_positives(of_split(io.read(CANDIDATES, split=split), split), REPEAT_SOURCES),
        }
        found["within_candidates"][split] = _means(orders, evaluation.replicates, seed)
        if options.forced_queries:
            is_chosen = _is_chosen(io, split, options.forced_queries, seed)
            offered, forced = (
                io.read(RANKER_FEATS, part=part).filter(is_chosen) for part in (split, f"forced_{split}")
            )
            retrieved = ranked_positives(scored[split].filter(is_chosen))
            orders = {
                END_TO_END: retrieved.unionByName(missed_positives(of_split(forced, split))),
                FORCED_RANKED: ranked_positives(of_split(score_shards(_together(offered, forced), ranker), split)),
            }
            found["over_all_positives"][split] = _means(orders, evaluation.replicates, seed)
        if split == "val" and options.importance_queries:
            is_chosen = _is_chosen(io, split, options.importance_queries, seed)
            chosen = io.read(RANKER_FEATS, part=split).filter(is_chosen)
            found["importance"] = permutation_importance(chosen, ranker, seed)
    found["calibration"] = calibration(*(log_share_histogram(scored[split]) for split in SPLIT_OF_FIT.values()))
    return found


def _is_chosen(io: StageIO, split: str, wanted: int, seed: int) -> Column:
    """Whether a row is of one of about `wanted` queries of a split, chosen by their hashes."""
    share = min(wanted / max(io.num_rows(CANDIDATES, split=split), 1), 1.0)
    bucket = F.pmod(F.xxhash64("query_id", F.lit(seed), F.lit("analysis")), F.lit(_BUCKETS))
    return bucket < int(share * _BUCKETS)


def _together(offered: DataFrame, forced: DataFrame) -> DataFrame:
    """The shards of some queries together with their forced positives, each query whole in one task."""
    return offered.unionByName(forced).repartition("query_id").sortWithinPartitions("query_id", "item_idx")


def _means(orders: dict[str, DataFrame], replicates: int, seed: int) -> dict[str, Any]:
    parts = [frame.select(F.lit(name).alias("order"), "*") for name, frame in orders.items()]
    together = parts[0]
    for part in parts[1:]:
        together = together.unionByName(part)
    found = resampled(together, replicates, seed, by=("order",))
    return {
        name: {protocol: means(found[name, protocol]) for protocol in LIST_PROTOCOLS if (name, protocol) in found}
        for name in orders
    }
