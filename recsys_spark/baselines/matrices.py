"""User-item matrices as Parquet triples, and as CSR matrices inside a task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.contracts.model_schemas import KNN_SOURCE, USER_ITEM_MATRIX
from recsys_spark.sequences.split import cutoff

POSITIVE_WEIGHT, HISTORY_WEIGHT = 1.0, 0.5
_MATRICES_KEPT = 8  # of one Python process


def knn_source(interactions: DataFrame, item_ids: DataFrame, customer_ids: DataFrame, cutoff_time: str) -> DataFrame:
    """KNN_SOURCE: what each customer bought of each item up to the cutoff."""
    known = interactions.filter(F.col("invoice_date") <= cutoff(cutoff_time))
    sums = known.groupBy("customer_id", "stock_code").agg(
        F.count(F.lit(1)).alias("num_events"),
        F.sum("quantity").cast("double").alias("quantity"),
        F.max("invoice_date").alias("last_time"),
    )
    indexed = sums.join(item_ids, on="stock_code", how="inner").join(customer_ids, on="customer_id", how="inner")
    return indexed.select(*KNN_SOURCE.names)


def user_item_matrix(sequences: DataFrame, cutoff_time: str) -> DataFrame:
    """USER_ITEM_MATRIX from the examples up to the cutoff: a positive weighs 1, an item of a history alone a half."""
    known = sequences.filter(F.col("event_time") <= cutoff(cutoff_time))
    positives = known.select(
        "user_idx", F.col("pos_item_idx").alias("item_idx"), F.lit(POSITIVE_WEIGHT).alias("weight")
    )
    # Examples of a basket may share their history, which is then laid out once.
    histories = known.select("user_idx", "history").distinct()
    earlier = histories.select(
        "user_idx", F.explode("history").alias("item_idx"), F.lit(HISTORY_WEIGHT).alias("weight")
    )
    entries = positives.unionByName(earlier.filter("item_idx > 0"))
    return entries.groupBy("user_idx", "item_idx").agg(F.max("weight").alias("weight")).select(*USER_ITEM_MATRIX.names)


@dataclass(frozen=True)
class FittedTable:
    """A fitted table as tasks find it: its path and its fingerprint."""

    path: str
    content: str

    def csr(self, row: str, col: str, value: str) -> sparse.csr_matrix:
        """The table as CSR matrix, rows and columns numbered as in the table; read once per Python process."""
        return _csr(self, row, col, value)


@mapped(_MATRICES_KEPT)
def _csr(table: FittedTable, row: str, col: str, value: str) -> sparse.csr_matrix:
    # One column at a time: a table of neighbours is gigabytes, and each worker process holds its own.
    rows, cols = (numbers(read_columns(table.path, name), name).astype(np.int32) for name in (row, col))
    values = numbers(read_columns(table.path, value), value).astype(np.float64, copy=False)
    return csr_of(rows, cols, values)


def csr_of(rows: np.ndarray, cols: np.ndarray, values: np.ndarray, num_columns: int = 0) -> sparse.csr_matrix:
    """A CSR matrix of triples in any order; columns ascend within a row, so that sums of products have one order."""
    shape = (int(rows.max(initial=0)) + 1, max(int(cols.max(initial=0)) + 1, num_columns))
    matrix = sparse.csr_matrix((values, (rows, cols)), shape=shape)
    matrix.sort_indices()
    return matrix


def rows_of(matrix: sparse.csr_matrix, rows: np.ndarray) -> sparse.csr_matrix:
    """Some rows of a matrix; those beyond its last are empty."""
    known = rows < matrix.shape[0]
    found = matrix[np.where(known, rows, 0)]
    return found if known.all() else sparse.diags(known.astype(np.float64), format="csr") @ found
