"""Small evaluation worlds: positives and lists as Python values, and the frames made of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.contracts import schemas
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.evaluation.summary import SplitFrames
from tests.support.frames import frame

NUM_ITEMS = 150
CUTOFF = datetime(2011, 2, 1)
CATEGORIES = ("CUPS", "PLATES", None)


@dataclass
class World:
    """One split of an evaluation, whose models were fitted up to CUTOFF.

    positives: (user, query, item, amount, is_repeat); lists: model -> (query, protocol) -> items, best first;
    bought: (user, item) of the events up to CUTOFF. Customers with positives and without such an event are cold; an
    item's category is CATEGORIES[item % 3].
    """

    positives: list[tuple[int, int, int, float, bool]]
    lists: dict[str, dict[tuple[int, str], list[int]]]
    cold_items: set[int] = field(default_factory=set)
    bought: set[tuple[int, int]] = field(default_factory=set)
    _frames: SplitFrames | None = field(default=None, init=False, repr=False)

    def frames(self, spark: SparkSession) -> SplitFrames:
        """Made once, with their rows: the world may not change afterwards."""
        if self._frames is None:
            rankings = {model: self.rankings(spark, model).localCheckpoint() for model in self.lists}
            sequences, item_id_map = self.sequences(spark).localCheckpoint(), self.item_id_map(spark).localCheckpoint()
            ranks = {model: positive_ranks(lists, sequences, item_id_map) for model, lists in rankings.items()}
            self._frames = SplitFrames(
                split="test",
                cutoff=CUTOFF.isoformat(),
                until=None,
                sequences=sequences,
                interactions=self.interactions(spark).localCheckpoint(),
                customer_id_map=frame(spark, schemas.CUSTOMER_ID_MAP, self._customers()).localCheckpoint(),
                item_id_map=item_id_map,
                items=frame(spark, schemas.ITEMS_CLEAN, self._items()).localCheckpoint(),
                popularity=self.popularity(spark).localCheckpoint(),
                rankings=rankings,
                ranks={model: found.localCheckpoint() for model, found in ranks.items()},
            )
        return self._frames

    def sequences(self, spark: SparkSession) -> DataFrame:
        names = ("user_idx", "query_id", "pos_item_idx", "line_amount", "is_repeat")
        rows = [dict(zip(names, values, strict=True)) for values in self.positives]
        return frame(spark, schemas.SEQUENCES, [{**row, "event_time": time_of(row["query_id"])} for row in rows])

    def interactions(self, spark: SparkSession) -> DataFrame:
        """Every purchase in `bought` at CUTOFF, and one event of every customer a day later."""
        early = [(user, item, CUTOFF) for user, item in sorted(self.bought)]
        late = [(user, item, CUTOFF + timedelta(days=1)) for user, _, item, _, _ in self.positives]
        events = [
            {"customer_id": f"C{user}", "stock_code": f"P{item}", "invoice_date": time}
            for user, item, time in early + late
        ]
        return frame(spark, schemas.INTERACTIONS_CLEAN, events)

    def rankings(self, spark: SparkSession, model: str) -> DataFrame:
        listed: Mapping[tuple[int, str], Sequence[int]] = self.lists[model]
        rows: list[dict[str, Any]] = [
            {
                "query_id": query,
                "event_time": time_of(query),
                "protocol": protocol,
                "stock_codes": [f"P{item}" for item in items],
            }
            for (query, protocol), items in listed.items()
        ]
        return frame(spark, schemas.RANKINGS, rows)

    def item_id_map(self, spark: SparkSession) -> DataFrame:
        return frame(spark, schemas.ITEM_ID_MAP, self._items())

    def popularity(self, spark: SparkSession) -> DataFrame:
        """An eligible item has as many events as its index says."""
        items = [idx for idx in range(1, NUM_ITEMS + 1) if idx not in self.cold_items]
        return frame(spark, schemas.ITEM_POPULARITY, [{"item_idx": idx, "num_events": idx} for idx in items])

    def _items(self) -> list[dict[str, Any]]:
        items = range(1, NUM_ITEMS + 1)
        return [{"item_idx": idx, "stock_code": f"P{idx}", "category": CATEGORIES[idx % 3]} for idx in items]

    def _customers(self) -> list[dict[str, Any]]:
        users = sorted({user for user, *_ in self.positives} | {user for user, _ in self.bought})
        return [{"user_idx": user, "customer_id": f"C{user}"} for user in users]


def time_of(query: int) -> datetime:
    """When the basket of a query was bought."""
    return CUTOFF + timedelta(minutes=1 + query % 1_000_000)


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
    bought = {(chance.randint(1, num_users), item) for item in range(1, NUM_ITEMS + 1) for _ in range(num_users // 2)}
    return World(positives, lists, cold_items=set(chance.sample(range(1, NUM_ITEMS + 1), 10)), bought=bought)
