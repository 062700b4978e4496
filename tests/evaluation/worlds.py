"""Small evaluation worlds: positives and lists as Python values, and the frames made of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts.schemas import ITEM_ID_MAP, ITEM_POPULARITY, RANKINGS, SEQUENCES
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.evaluation.sums import hits, positive_facts
from tests.support.frames import frame

NUM_ITEMS = 150


@dataclass
class World:
    """positives: (user, query, item, amount, is_repeat); lists: model -> (query, protocol) -> items, best first."""

    positives: list[tuple[int, int, int, float, bool]]
    lists: dict[str, dict[tuple[int, str], list[int]]]
    cold_items: set[int] = field(default_factory=set)
    cold_users: set[int] = field(default_factory=set)

    def sequences(self, spark: SparkSession) -> DataFrame:
        names = ("user_idx", "query_id", "pos_item_idx", "line_amount", "is_repeat")
        return frame(spark, SEQUENCES, [dict(zip(names, values, strict=True)) for values in self.positives])

    def rankings(self, spark: SparkSession, model: str) -> DataFrame:
        listed: Mapping[tuple[int, str], Sequence[int]] = self.lists[model]
        rows: list[dict[str, Any]] = [
            {"query_id": query, "protocol": protocol, "stock_codes": [f"P{item}" for item in items]}
            for (query, protocol), items in listed.items()
        ]
        return frame(spark, RANKINGS, rows)

    def item_id_map(self, spark: SparkSession) -> DataFrame:
        items = range(1, NUM_ITEMS + 1)
        return frame(spark, ITEM_ID_MAP, [{"item_idx": idx, "stock_code": f"P{idx}"} for idx in items])

    def popularity(self, spark: SparkSession) -> DataFrame:
        items = [idx for idx in range(1, NUM_ITEMS + 1) if idx not in self.cold_items]
        return frame(spark, ITEM_POPULARITY, [{"item_idx": idx, "num_events": idx} for idx in items])

    def facts(self, spark: SparkSession) -> DataFrame:
        users = {user for user, *_ in self.positives} - self.cold_users
        known = spark.createDataFrame([(user,) for user in sorted(users)], "user_idx bigint")
        return positive_facts(self.sequences(spark), self.popularity(spark), known)

    def ranks(self, spark: SparkSession) -> dict[str, DataFrame]:
        sequences, item_id_map = self.sequences(spark), self.item_id_map(spark)
        return {model: positive_ranks(self.rankings(spark, model), sequences, item_id_map) for model in self.lists}

    def hits(self, spark: SparkSession) -> DataFrame:
        return hits(self.facts(spark), self.ranks(spark))


def random_world(num_users: int, seed: int, models: Sequence[str] = ("one", "two")) -> World:
    """Customers with up to three queries of up to six items; random lists, some of them missing or short."""
    chance = random.Random(seed)
    positives: list[tuple[int, int, int, float, bool]] = []
    lists: dict[str, dict[tuple[int, str], list[int]]] = {model: {} for model in models}
    for user in range(1, num_users + 1):
        for order in range(1, chance.randint(1, 3) + 1):
            query = user * 1_000_000 + order
            for item in chance.sample(range(1, NUM_ITEMS + 1), chance.randint(1, 6)):
                positives.append((user, query, item, chance.randint(1, 40_000) / 100, chance.random() < 0.5))
            for model in models:
                if chance.random() < 0.9:
                    listed = chance.sample(range(1, NUM_ITEMS + 1), chance.choice([3, 60, 100]))
                    lists[model][query, "all_items"] = listed
                    repeats = {item for _, q, item, _, repeat in positives if q == query and repeat}
                    lists[model][query, "first_purchase"] = [item for item in listed if item not in repeats]
    return World(positives, lists)
