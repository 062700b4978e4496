"""What the towers know of items beside their indices: how often each is sold and a target, and hashed features."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import PAD_IDX
from recsys_spark.contracts.retriever_config import SIDE_FEATURES
from recsys_spark.contracts.retriever_schemas import TOWER_ITEMS

SIDE_BUCKETS = 1 << 14  # hashed features
SIDE_LENGTH = 12  # features of an item, or of one kind; of more, those with the smallest hashes stay
_MIN_WORD = 3  # letters
_PRICE_BANDS_PER_E = 2.0  # bands in which log price is cut: prices of a band differ by up to 65 %


def tower_items(examples: DataFrame, events: DataFrame, chosen: Sequence[str]) -> DataFrame:
    """TOWER_ITEMS: every item with an event up to the cutoff, and the times it is a target of the TOWER_EXAMPLES.

    events: item_idx, description, brand, category, price of the interactions up to the cutoff. chosen: the side
    features that are wanted.
    """
    targets = examples.select(F.inline(F.arrays_zip(F.col("positives").alias("item_idx"), "is_repeat")))
    counted = (
        targets.filter(F.col("item_idx") != PAD_IDX)
        .groupBy(F.col("item_idx").cast("bigint").alias("item_idx"))
        .agg(F.count(F.lit(1)).alias("num_targets"), F.count_if(~F.col("is_repeat")).alias("num_new_targets"))
    )
    nothing = F.array_repeat(F.lit(PAD_IDX), SIDE_LENGTH)
    sides = []
    for feature in SIDE_FEATURES:
        of_lines = F.array_distinct(F.flatten(F.collect_set(_hashed(feature))))
        sides.append((_side(of_lines) if feature in chosen else nothing).alias(f"side_{feature}"))
    known = events.groupBy("item_idx").agg(F.count(F.lit(1)).alias("num_events"), *sides)
    found = known.join(counted, on="item_idx", how="left")
    return found.fillna(0, ["num_targets", "num_new_targets"]).select(*TOWER_ITEMS.names)


def side_features(events: DataFrame, features: Sequence[str]) -> DataFrame:
    """item_idx and side: hashed features of any of an item's lines; words go together, others apart by their name."""
    hashed = F.concat(*(_hashed(feature) for feature in features))
    every = events.select("item_idx", F.explode(hashed).alias("feature"))
    return every.groupBy("item_idx").agg(_side(F.collect_set("feature")).alias("side"))


def _side(hashed: Column) -> Column:
    """The smallest of an array of distinct features, right-padded."""
    kept = F.slice(F.array_sort(hashed), 1, SIDE_LENGTH)
    return F.concat(kept, F.array_repeat(F.lit(PAD_IDX), F.lit(SIDE_LENGTH) - F.size(kept)))


def _hashed(feature: str) -> Column:
    """A line's buckets 1..SIDE_BUCKETS of a side feature, none where it has no value."""
    band = F.floor(F.log("price") * _PRICE_BANDS_PER_E).cast("string")
    values = {
        "brand": F.array("brand"),
        "category": F.array("category"),
        "price": F.array(F.when(F.col("price") > 0, band)),
        "description": F.filter(F.split("description", r"[^\p{L}\p{N}]+"), lambda word: F.length(word) >= _MIN_WORD),
    }
    present = F.filter(values[feature], lambda value: value.isNotNull())
    return F.transform(
        present, lambda value: (F.pmod(F.xxhash64(F.lit(feature), value), F.lit(SIDE_BUCKETS)) + 1).cast("int")
    )
