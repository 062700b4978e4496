"""Drift of the towers' vectors: means and covariances beyond a common rotation, and neighbours, which know none."""

from __future__ import annotations

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Floats
from recsys_spark.contracts.artifacts import CUSTOMER_ID_MAP, ITEM_EMBEDDINGS, ITEM_ID_MAP, USER_EMBEDDINGS, Artifact
from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.contracts.retriever_config import TOWERS
from recsys_spark.monitoring.alignment import Moments, Vectors, covariance_shift, mean_shift, moments, rotation
from recsys_spark.monitoring.measures import Measure, above, below, not_measured
from recsys_spark.monitoring.neighbours import neighbour_overlap
from recsys_spark.monitoring.runs import SeenRun, lacks

GROUP = "embeddings"
_FITS = ("full", "val")  # the first that both runs have


def embedding_measures(reference: SeenRun, current: SeenRun, config: MonitorConfig) -> list[Measure]:
    """Of every tower that both runs have."""
    runs = reference, current
    common = [
        (tower, fit)
        for tower in TOWERS
        for fit in _FITS
        if all(run.has(side, tower=tower, fit=fit) for run in runs for side in (ITEM_EMBEDDINGS, USER_EMBEDDINGS))
    ]
    towers = dict(reversed(common))
    lacking = lacks(reference, current, ITEM_ID_MAP, CUSTOMER_ID_MAP)
    if lacking or not towers:
        return [not_measured(GROUP, "item_mean_shift", lacking or "the runs have no tower in common")]
    items = common_ids(reference.table(ITEM_ID_MAP), current.table(ITEM_ID_MAP), "stock_code", "item_idx")
    users = common_ids(reference.table(CUSTOMER_ID_MAP), current.table(CUSTOMER_ID_MAP), "customer_id", "user_idx")
    items.persist()
    found = []
    for tower, fit in sorted(towers.items()):
        vectors = [_files(runs, artifact, tower, fit) for artifact in (ITEM_EMBEDDINGS, USER_EMBEDDINGS)]
        found += moved_vectors(tower, items, users, vectors[0], vectors[1], config)
    items.unpersist()
    return found


def common_ids(reference: DataFrame, current: DataFrame, key: str, index: str) -> DataFrame:
    """The ids of both runs: the key, and its indices `first` and `second`. Of id maps."""
    first = reference.select(key, F.col(index).alias("first"))
    return first.join(current.select(key, F.col(index).alias("second")), on=key, how="inner")


def moved_vectors(
    tower: str, items: DataFrame, users: DataFrame, item_vectors: Vectors, user_vectors: Vectors, config: MonitorConfig
) -> list[Measure]:
    """All measures of one tower. items, users: `common_ids`."""
    dims = [file.array().shape[1] for file in item_vectors]
    if dims[0] != dims[1]:
        return [not_measured(GROUP, f"{tower}.item_mean_shift", f"the vectors have {dims[0]} and {dims[1]} numbers")]
    of_items = moments(items, item_vectors, dims[0])
    if of_items.count < 2:
        return [not_measured(GROUP, f"{tower}.item_mean_shift", "fewer than two products have a vector in both runs")]
    turned = rotation(of_items)
    found = _moved(tower, "item", of_items, turned, config)
    of_users = moments(users, user_vectors, dims[0])
    if of_users.count >= 2:
        found += _moved(tower, "user", of_users, turned, config)
    return found + _neighbours(tower, items, item_vectors, config)


def _files(runs: tuple[SeenRun, SeenRun], artifact: Artifact, tower: str, fit: str) -> Vectors:
    first, second = (run.file(artifact, tower=tower, fit=fit) for run in runs)
    return first, second


def _moved(tower: str, side: str, of: Moments, turned: Floats, config: MonitorConfig) -> list[Measure]:
    limits = config.thresholds
    mean, covariance = mean_shift(of, turned), covariance_shift(of, turned)
    told = f"after the best rotation, over {of.count:,} {side}s of both runs"
    lengths = [round(float(np.linalg.norm(mean)), 6) for mean in of.means]
    return [
        above(
            GROUP,
            f"{tower}.{side}_mean_shift",
            mean,
            limits.mean_shift,
            f"the mean {side} vector of tower {tower} moved by {mean:.3f} {told}",
            common=of.count,
            length_of_means=lengths,
        ),
        above(
            GROUP,
            f"{tower}.{side}_covariance_shift",
            covariance,
            limits.covariance_shift,
            f"the covariance of the {side} vectors of tower {tower} moved by {covariance:.1%} of its size {told}",
            common=of.count,
        ),
    ]


def _neighbours(tower: str, items: DataFrame, vectors: Vectors, config: MonitorConfig) -> list[Measure]:
    k, limits = config.neighbours, config.thresholds
    found = neighbour_overlap(items, vectors, k, config.neighbour_items)
    if found is None:
        return [
            not_measured(GROUP, f"{tower}.neighbour_overlap", f"fewer than {k + 2} products have a vector in both runs")
        ]
    kept, lost = found["overlap"], found["lost"]
    return [
        below(
            GROUP,
            f"{tower}.neighbour_overlap",
            kept,
            limits.neighbour_overlap,
            f"of the {k} nearest products of a product {kept:.0%} stayed in tower {tower}",
        ),
        above(
            GROUP,
            f"{tower}.lost_neighbours",
            lost,
            limits.lost_neighbours,
            f"{lost:.1%} of the products kept none of their {k} nearest in tower {tower}",
        ),
    ]
