"""What ranker_results.json says of a ranker beside its training: within candidates, what it leans on, its odds."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.artifacts import CANDIDATES, RANKER_BEST, RANKER_FEATS, SPLIT_OF_FIT
from recsys_spark.contracts.candidate_config import REPEAT_SOURCES
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.ranker_config import AnalysisConfig
from recsys_spark.ranker.calibration import calibration, log_share_histogram
from recsys_spark.ranker.importance import permutation_importance
from recsys_spark.ranker.places import means, offered_positives, ranked_positives, resampled
from recsys_spark.stage import StageIO

WITHOUT_RANKER = "candidates"  # the order in which they are proposed
OPTIMISTIC = "optimistic"  # positives that no source proposed are ranked as well
_BUCKETS = 1 << 20


def analyse(io: StageIO, options: AnalysisConfig, replicates: int, seed: int) -> dict[str, Any]:
    """`within_candidates` by split, order and protocol; `calibration` and `importance`, all of published shards."""
    found: dict[str, Any] = {"within_candidates": {}, "calibration": {}, "importance": []}
    histograms = []
    for fit, split in SPLIT_OF_FIT.items():
        ranker = FittedFile(*io.path_and_content(RANKER_BEST, fit=fit))
        shards = io.read(RANKER_FEATS, part=split)
        orders = {
            "two_stage": ranked_positives(shards, ranker),
            WITHOUT_RANKER: offered_positives(io.read(CANDIDATES, split=split), REPEAT_SOURCES),
        }
        if options.forced_queries:
            orders[OPTIMISTIC] = ranked_positives(_with_forced(io, split, options.forced_queries, seed), ranker)
        found["within_candidates"][split] = _means(orders, replicates, seed)
        histograms.append(log_share_histogram(shards, ranker))
        if split == "val" and options.importance_queries:
            chosen = sampled(shards, io.read(CANDIDATES, split=split).count(), options.importance_queries, seed)
            found["importance"] = permutation_importance(chosen, ranker, seed)
    found["calibration"] = calibration(*histograms)
    return found


def sampled(shards: DataFrame, num_queries: int, wanted: int, seed: int) -> DataFrame:
    """Rows of about `wanted` of the queries, chosen by their hashes."""
    share = min(wanted / max(num_queries, 1), 1.0)
    bucket = F.pmod(F.xxhash64("query_id", F.lit(seed), F.lit("analysis")), F.lit(_BUCKETS))
    return shards.filter(bucket < int(share * _BUCKETS))


def _with_forced(io: StageIO, split: str, wanted: int, seed: int) -> DataFrame:
    """The shards of some queries together with their forced positives, each query whole in one task."""
    num_queries = io.read(CANDIDATES, split=split).count()
    parts = (io.read(RANKER_FEATS, part=part) for part in (split, f"forced_{split}"))
    offered, forced = (sampled(part, num_queries, wanted, seed) for part in parts)
    both = offered.unionByName(forced)
    return both.repartition("query_id").sortWithinPartitions("query_id", "item_idx")


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
