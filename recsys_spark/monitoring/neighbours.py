"""How many of a product's nearest products stayed: what a rotation of the vectors leaves as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.arrays import Floats, Ints
from recsys_spark.monitoring.alignment import Vectors, both_sides, rows_of

_NEAREST = "side int, item bigint, place_key bigint"
_SCALE = 1_000_000  # of a cosine to a whole number, so that places do not depend on what is multiplied together
_ITEMS = np.int64(1 << 32)  # a place key is the whole number times this, minus the index: equal cosines by index
_ITEMS_AT_A_TIME = 2048


def neighbour_overlap(pairs: DataFrame, vectors: Vectors, k: int, num_items: int) -> dict[str, float] | None:
    """Of `num_items` products: `overlap`, mean share of the k nearest that are so in both runs, and `lost`, share of
    products that share none; None where fewer than two products are left beside the k.

    pairs: first, second (rows of the product in the two arrays) and stock_code. Neighbours are looked for among the
    products of both runs, by cosine, exactly.
    """
    looked_at = pairs.orderBy(F.xxhash64("stock_code"), "stock_code").limit(num_items)
    asked = [(row["first"], row["second"]) for row in looked_at.select("first", "second").collect()]
    if len(asked) < 2 or pairs.count() <= k + 1:
        return None
    kernel = partial(_nearest, vectors=vectors, asked=np.array(asked, np.int64), k=k)
    best = Window.partitionBy("side", "item").orderBy(F.desc("place_key"))
    nearest = pairs.select("first", "second").mapInArrow(kernel, _NEAREST)
    kept = nearest.withColumn("place", F.row_number().over(best)).filter(F.col("place") <= k)
    neighbour = F.pmod(-F.col("place_key"), F.lit(int(_ITEMS))).alias("neighbour")
    shared = kept.groupBy("item", neighbour).agg(F.count_distinct("side").alias("sides"))
    by_item = shared.groupBy("item").agg(F.count_if(F.col("sides") == 2).alias("kept"))
    row = by_item.agg(F.avg(F.col("kept") / k).alias("overlap"), F.avg((F.col("kept") == 0).cast("int")).alias("lost"))
    found = row.first()
    assert found is not None  # an aggregate without keys has one row
    return {"overlap": found["overlap"], "lost": found["lost"]} if found["overlap"] is not None else None


def _nearest(batches: Iterable[pa.RecordBatch], vectors: Vectors, asked: Ints, k: int) -> Iterator[pa.RecordBatch]:
    """The k nearest within this partition of every product that is asked for, in both runs; named by the first run."""
    queries = [_unit(rows_of(file, asked[:, side])) for side, file in enumerate(vectors)]
    has_both = queries[0].any(axis=1) & queries[1].any(axis=1)
    names, queries = asked[has_both, 0], [side[has_both] for side in queries]
    tops = [np.empty((len(names), 0), np.int64) for _ in vectors]
    for batch in batches:
        for start in range(0, batch.num_rows, _ITEMS_AT_A_TIME):
            part = batch.slice(start, _ITEMS_AT_A_TIME)
            *both, is_held = both_sides(part, vectors)
            items = part.column(0).to_numpy()[is_held]
            for side, held in enumerate(both):
                keys = _place_keys(queries[side] @ _unit(held[is_held]).T, items)
                keys[names[:, None] == items[None, :]] = np.iinfo(np.int64).min  # a product is no neighbour of its own
                tops[side] = _largest(np.hstack([tops[side], keys]), k)
    for side, top in enumerate(tops):
        is_there = top > np.iinfo(np.int64).min
        columns = {
            "side": pa.array(np.full(is_there.sum(), side, np.int32)),
            "item": pa.array(np.broadcast_to(names[:, None], top.shape)[is_there]),
            "place_key": pa.array(top[is_there]),
        }
        yield pa.RecordBatch.from_pydict(columns)


def _place_keys(cosines: Floats, items: Ints) -> Ints:
    """Larger for a larger cosine and, among equal ones, for a smaller index."""
    keys: Ints = np.rint(cosines * _SCALE).astype(np.int64) * _ITEMS - items[None, :]
    return keys


def _largest(keys: Ints, k: int) -> Ints:
    """The k largest of every row, in any order."""
    return keys if keys.shape[1] <= k else np.partition(keys, keys.shape[1] - k, axis=1)[:, -k:]


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
