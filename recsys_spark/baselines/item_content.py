"""What is known of an item before anyone has bought it: brand, category, price band and words, hashed."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.model_schemas import ITEM_CONTENT
from recsys_spark.contracts.retriever_config import SIDE_FEATURES
from recsys_spark.retriever.items import side_features

_DETAILS = ("description", "brand", "category", "price")


def item_content(interactions: DataFrame, item_ids: DataFrame) -> DataFrame:
    """ITEM_CONTENT of every item, of its first line; of several at one time, of the least.

    Later lines change nothing of it, so it may stand beside any cutoff: an item that is new at one is described as it
    was when it was first sold, which a catalogue says before that.
    """
    first = F.min(F.struct("invoice_date", *_DETAILS)).alias("first")
    lines = interactions.groupBy("stock_code").agg(first).join(item_ids, on="stock_code", how="inner")
    found = side_features(lines.select("item_idx", *(f"first.{name}" for name in _DETAILS)), SIDE_FEATURES)
    return found.withColumnRenamed("side", "features").select(*ITEM_CONTENT.names)
