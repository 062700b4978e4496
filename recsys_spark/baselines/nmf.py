"""Nonnegative matrix factorisation: scikit-learn while the matrix is small, Spark's ALS beyond; scores by fold-in."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import sparse

from recsys_spark.arrays import Floats
from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.profiles import best_of_rows, fitted_to, num_wanted, profiles, together
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.contracts.model_config import NmfConfig
from recsys_spark.contracts.model_schemas import NMF_FACTORS
from recsys_spark.paths import spark_uri

_BLOCK_BYTES = 64 << 20  # of the dense scores that exist at a time
_SWEEPS = 30  # of the fold-in over all factors; more change no score's sixth decimal in practice
_LINEAGE_ITERATIONS = 5  # of ALS until its lineage is cut: one of 9 can overflow the stack, which ends the JVM


def fit_nmf_factors(matrix: DataFrame, config: NmfConfig, seed: int, folder: str) -> DataFrame:
    """NMF_FACTORS of a USER_ITEM_MATRIX. folder: scratch that all executors reach, for what ALS goes on from.

    Beyond max_cells (customers x items) ALS fits in blocks of Spark, whose sums depend on the partitioning in the last
    digits; the other way is exact, and made by one task.
    """
    if is_left_to_als(matrix, config):
        return _als_factors(matrix, config, seed, folder)
    return matrix.coalesce(1).mapInArrow(_factoriser(config, seed), NMF_FACTORS.ddl)


def is_left_to_als(matrix: DataFrame, config: NmfConfig) -> bool:
    """Whether a USER_ITEM_MATRIX has more than max_cells. ALS starts from the ids: other ids come to other factors."""
    sizes = matrix.agg(F.countDistinct("user_idx").alias("users"), F.countDistinct("item_idx").alias("items")).first()
    assert sizes is not None  # an aggregate without keys has one row
    is_large: bool = sizes["users"] * sizes["items"] > config.max_cells
    return is_large


@dataclass(frozen=True)
class Nmf:
    """score(item) = w . factors(item), where w >= 0 minimises |profile - w factors|^2 + l2 |w|^2.

    The profile is made of weights of at most 1, as the matrix is, so new history counts at once; its days go back from
    the customer's last purchase, which thus has the weight 1.
    """

    fitted: FittedPopularity
    factors: FittedTable
    l2: float
    half_life_days: float
    name: str = "nmf"

    def popular(self) -> Popular:
        return self.fitted.behind()

    def score(self, batch: QueryBatch) -> Scored:
        factors = _item_factors(self.factors)  # (items, num_factors)
        bought = fitted_to(profiles(batch, self.half_life_days), len(factors))
        bought.data = np.minimum(bought.data, 1.0)
        folded = fold_in(bought @ factors, factors.T @ factors, self.l2)
        wanted = num_wanted(batch)
        height = max(_BLOCK_BYTES // (8 * max(len(factors), 1)), 1)
        parts = []
        for start in range(0, len(batch), height):
            scores = sparse.csr_matrix(folded[start : start + height] @ factors.T)
            parts.append(best_of_rows(scores, wanted[start : start + height], start))
        return together(parts)


def fold_in(targets: Floats, gram: Floats, l2: float) -> Floats:
    """Nonnegative least squares by coordinate descent, all rows at once: min |x - w H|^2 + l2 |w|^2 for each row.

    targets: x H', (Q, num_factors); gram: H H'.
    """
    folded = np.zeros_like(targets)
    curvature = np.diag(gram) + l2
    for _ in range(_SWEEPS):
        for factor in np.flatnonzero(curvature > 0):
            slope = targets[:, factor] - folded @ gram[:, factor] - l2 * folded[:, factor]
            folded[:, factor] = np.maximum(folded[:, factor] + slope / curvature[factor], 0.0)
    return folded


def factorise(matrix: sparse.csr_matrix, config: NmfConfig, seed: int) -> Floats:
    """Item factors (items, num_factors) of a matrix (users, items)."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    rank = min(config.num_factors, *matrix.shape)
    model = NMF(
        n_components=rank,
        init="nndsvda",
        max_iter=config.max_iterations,
        alpha_W=config.l2 / matrix.shape[1],  # scikit-learn multiplies by the other dimension
        alpha_H=config.l2 / matrix.shape[0],
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_iterations is the user's choice
        model.fit(matrix)
    return model.components_.T


def _factoriser(config: NmfConfig, seed: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def solve(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = [[column.to_numpy() for column in batch.columns] for batch in batches if batch.num_rows]
        if not parts:
            return
        users, items, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
        (_, rows), (names, cols) = (np.unique(values, return_inverse=True) for values in (users, items))
        matrix = sparse.csr_matrix((weights, (rows, cols)))
        matrix.sort_indices()
        factors = factorise(matrix, config, seed)
        lists = pa.ListArray.from_arrays(
            pa.array(np.arange(0, factors.size + 1, factors.shape[1], dtype=np.int32)), pa.array(factors.reshape(-1))
        )
        yield pa.RecordBatch.from_arrays([pa.array(names), lists], names=NMF_FACTORS.names)

    return solve


def _als_factors(matrix: DataFrame, config: NmfConfig, seed: int, folder: str) -> DataFrame:
    from pyspark.ml.recommendation import ALS

    ratings = matrix.select(F.col("user_idx").cast("int"), F.col("item_idx").cast("int"), "weight")
    als = ALS(
        rank=config.num_factors,
        maxIter=config.max_iterations,
        regParam=config.l2,
        userCol="user_idx",
        itemCol="item_idx",
        ratingCol="weight",
        implicitPrefs=True,
        nonnegative=True,
        checkpointInterval=_LINEAGE_ITERATIONS,
        seed=seed,
    )
    with _checkpoints_in(folder, matrix.sparkSession):  # ALS cuts its lineage only where it has a folder
        factors = als.fit(ratings).itemFactors
    return factors.select(
        F.col("id").cast("bigint").alias("item_idx"), F.col("features").cast("array<double>").alias("factors")
    )


@contextmanager
def _checkpoints_in(folder: str, spark: SparkSession) -> Iterator[None]:
    """Within, Spark checkpoints to the folder; then to where it did before, as the folder goes with its stage."""
    context = spark.sparkContext
    before = context.getCheckpointDir()
    context.setCheckpointDir(spark_uri(folder))
    try:
        yield
    finally:
        context.setCheckpointDir(cast(str, before))  # None, too: nowhere


@mapped(2)
def _item_factors(table: FittedTable) -> Floats:
    """(largest item_idx + 1, num_factors); items without factors have zeros. A table without rows is (1, 1)."""
    columns = read_columns(table.path)
    items = numbers(columns, "item_idx")
    flat = columns.column("factors").combine_chunks().flatten().to_numpy()
    values = flat.reshape(len(items), -1 if len(items) else 1)
    factors = np.zeros((int(items.max(initial=0)) + 1, values.shape[1]))
    factors[items] = values
    return factors
