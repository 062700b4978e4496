"""How much the ranker leans on each feature: what NDCG@20 loses when the feature's values are shuffled (Breiman, 2001).

Values move between all candidates of a group of queries, so a feature that is equal within a query (the customer's
number of orders) counts too. The groups are hashes of queries, so the figures do not depend on partitioning.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.ranker.places import places_within

K = 20
_GROUPS = 8  # each is one task and, of the deviation, one observation
_LOSSES_DDL = "feature string, protocol string, num_positives bigint, gain double, shuffled double"


def permutation_importance(shards: DataFrame, ranker: FittedFile, seed: int) -> list[dict[str, object]]:
    """Of each feature and protocol: `loss` of NDCG@20 and its `deviation` (standard error), largest loss first.

    shards: RANKER_FEATS of a sample of queries. Means over positives among the candidates.
    """
    group = F.pmod(F.xxhash64("query_id", F.lit(seed)), F.lit(_GROUPS)).alias("group")
    losses = shards.select("*", group).groupBy("group").applyInPandas(partial(_losses, ranker, seed), _LOSSES_DDL)
    lost = (F.col("gain") - F.col("shuffled")) / F.col("num_positives")
    found = (
        losses.withColumn("lost", lost)
        .groupBy("feature", "protocol")
        .agg(
            ((F.sum("gain") - F.sum("shuffled")) / F.sum("num_positives")).alias("loss"),
            (F.stddev_samp("lost") / F.sqrt(F.count("lost"))).alias("deviation"),
        )
        .collect()
    )
    told = [{name: row[name] for name in ("feature", "protocol", "loss", "deviation")} for row in found]
    return sorted(told, key=lambda row: (row["protocol"], -row["loss"], row["feature"]))


def _losses(ranker: FittedFile, seed: int, group: tuple[int], rows: pd.DataFrame) -> pd.DataFrame:
    from recsys_spark.ranker.score import load_ranker

    loaded = load_ranker(ranker.path, ranker.content)
    ordered = rows.sort_values(["query_id", "item_idx"])
    query, items = ordered["query_id"].to_numpy(), ordered["item_idx"].to_numpy()
    label, is_new = ordered["label"].to_numpy() > 0, ~ordered["is_repeat"].to_numpy()
    features = ordered[list(loaded.features)].to_numpy(np.float32)

    def gains(values: np.ndarray) -> list[float]:
        scores = loaded.scores(values, query)
        return [
            _gain(places_within(query[counts], scores[counts, place], items[counts])[label[counts]])
            for place, counts in enumerate((np.ones_like(is_new), is_new))
        ]

    whole, found = gains(features), []
    num_positives = [int(label.sum()), int((label & is_new).sum())]
    for place, name in enumerate(loaded.features):
        draw = np.random.default_rng([seed, group[0], place])
        shuffled = features.copy()
        shuffled[:, place] = draw.permutation(features[:, place])
        found += [
            (name, *row) for row in zip(LIST_PROTOCOLS, num_positives, whole, gains(shuffled), strict=True) if row[1]
        ]
    return pd.DataFrame(found, columns=[part.split()[0] for part in _LOSSES_DDL.split(", ")])


def _gain(rank: np.ndarray) -> float:
    return float((1 / np.log2(1 + rank[rank <= K])).sum())
