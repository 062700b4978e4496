"""Weights of a user-item matrix before the similarity of its columns: triples (row, col, weight) in and out.

TF-IDF and BM25 take a column for a document and a row for a term, as `implicit` does for items: a row that meets many
columns (a customer who buys everything) tells little about any of them. Entries whose weight comes out at 0 or below
say nothing and leave.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.errors import ConfigError

BM25_K1, BM25_B = 1.2, 0.75  # the defaults of implicit's BM25Recommender


def binary(triples: DataFrame) -> DataFrame:
    """1 for every entry with a weight above 0."""
    return _weighted(triples, F.lit(1.0)).filter(triples["weight"] > 0)


def log_quantity(triples: DataFrame) -> DataFrame:
    """ln(1 + quantity), where the weight is a quantity."""
    return _positive(_weighted(triples, F.log1p("weight")))


def tf_idf(triples: DataFrame) -> DataFrame:
    """sqrt(w) (ln N - ln(1 + n_row)), N columns in all, n_row of them in the row (implicit's `tfidf_weight`)."""
    return _positive(_weighted(_with_counts(triples), F.sqrt("weight") * _idf()))


def bm25(triples: DataFrame, k1: float = BM25_K1, b: float = BM25_B) -> DataFrame:
    """w (k1 + 1) / (k1 (1 - b + b s / mean s) + w) (ln N - ln(1 + n_row)), s a column's sum (implicit's `bm25_weight`).

    k1: how late the weight of a repeated purchase levels off. b: how much a column's sum counts against it, 0 to 1.
    """
    if k1 < 0 or not 0 <= b <= 1:
        raise ConfigError(f"BM25 takes k1 of at least 0 and b between 0 and 1, got k1={k1} and b={b}")
    column_sums = triples.groupBy("col").agg(F.sum("weight").alias("col_sum"))
    relative_length = F.col("col_sum") * F.col("num_cols") / F.col("total")
    saturation = (k1 + 1.0) / (k1 * ((1.0 - b) + b * relative_length) + F.col("weight"))
    counted = _with_counts(triples).join(column_sums, on="col", how="inner")
    return _positive(_weighted(counted, F.col("weight") * saturation * _idf()))


def _with_counts(triples: DataFrame) -> DataFrame:
    """Add n_row (entries of the row), num_cols (columns of the matrix) and total (sum of all weights)."""
    rows = triples.groupBy("row").agg(F.count(F.lit(1)).alias("n_row"))
    matrix = triples.agg(F.countDistinct("col").alias("num_cols"), F.sum("weight").alias("total"))
    return triples.join(rows, on="row", how="inner").crossJoin(F.broadcast(matrix))


def _idf() -> Column:
    return F.log("num_cols") - F.log1p("n_row")


def _weighted(frame: DataFrame, weight: Column) -> DataFrame:
    return frame.select("row", "col", weight.alias("weight"))


def _positive(triples: DataFrame) -> DataFrame:
    return triples.filter(F.col("weight") > 0)
