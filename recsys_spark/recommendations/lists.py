"""Lists for every customer as of the end of the data, each item with the facts that its reason tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.baselines.ranking import Lists, Model, Popular, Scored, rank_batch
from recsys_spark.contracts.schemas import RECOMMENDATIONS
from recsys_spark.workbook_writer import SheetColumn

_LISTED = (
    "customer_id string, item_idx bigint, rank int, score double, is_scored boolean, times_bought bigint, "
    "days_ago bigint"
)
# What an account manager sees of RECOMMENDATIONS.
SHEET = (
    SheetColumn("customer_id", "Customer"),
    SheetColumn("rank", "Rank", 6),
    SheetColumn("stock_code", "Code"),
    SheetColumn("description", "Description", 44),
    SheetColumn("score", "Score", 10),
    SheetColumn("reason", "Reason", 46),
)


@dataclass(frozen=True)
class Excluding:
    """A model that may not rank some stock codes."""

    model: Model
    excluded: tuple[str, ...]
    codes: Callable[[], pa.Array]

    @property
    def name(self) -> str:
        return self.model.name

    def popular(self) -> Popular:
        order = self.model.popular()
        names = self.codes().take(pa.array(order.items)).to_numpy(zero_copy_only=False)
        keep = ~np.isin(names.astype(str), [code.strip().upper() for code in self.excluded])
        return Popular(order.items[keep], order.scores[keep])

    def score(self, batch: QueryBatch) -> Scored:
        return self.model.score(replace(batch, depth=batch.depth + len(self.excluded)))


def queries_now(customer_ids: DataFrame, interactions: DataFrame) -> DataFrame:
    """One query per customer, just after the last event of the data: user_idx, customer_id, query_id, event_time."""
    after_all = interactions.agg((F.max("invoice_date") + F.expr("interval 1 microsecond")).alias("event_time"))
    return customer_ids.select("user_idx", "customer_id", F.col("user_idx").alias("query_id")).crossJoin(
        F.broadcast(after_all)
    )


def list_items(asked: DataFrame, model: Model, top_n: int, only_new: bool) -> DataFrame:
    """One row per customer and listed item, with how often and how lately the customer bought it.

    asked: of `with_queries`, one query per customer. is_scored: the model ranked the item, rather than it being a
    popular one behind the model's own. days_ago is null where times_bought is 0.
    """
    protocol = "first_purchase" if only_new else "all_items"
    return asked.mapInArrow(partial(list_batches, model=model, k=top_n, protocol=protocol), _LISTED)


def recommendations(
    listed: DataFrame, items: DataFrame, popularity: DataFrame, model: str, recent_days: int
) -> DataFrame:
    """RECOMMENDATIONS: the listed items with description and reason."""
    catalogue = items.select("item_idx", "stock_code", "description")
    known = listed.join(catalogue, on="item_idx", how="inner").join(popularity, on="item_idx", how="inner")
    return known.select(
        "customer_id",
        "rank",
        "stock_code",
        "description",
        "score",
        reason(recent_days).alias("reason"),
        F.when(F.col("is_scored"), model).otherwise("popularity").alias("model"),
    ).select(*RECOMMENDATIONS.names)


def reason(recent_days: int) -> Column:
    """Why, in words: the customer's own purchases of the item, else everyone's."""
    own = F.concat(F.lit("bought "), _times(F.col("times_bought")), F.lit(", last "), _days_ago(F.col("days_ago")))
    recent = F.concat(
        F.lit("popular: bought "), _times(F.col("num_recent_events")), F.lit(f" in the last {recent_days} days")
    )
    ever = F.concat(F.lit("popular: bought "), _times(F.col("num_events")), F.lit(" by all customers"))
    return F.when(F.col("times_bought") > 0, own).when(F.col("num_recent_events") > 0, recent).otherwise(ever)


def _times(count: Column) -> Column:
    return F.when(count == 1, F.lit("once")).otherwise(F.concat(F.format_number(count, 0), F.lit(" times")))


def _days_ago(days: Column) -> Column:
    return (
        F.when(days == 0, F.lit("today"))
        .when(days == 1, F.lit("1 day ago"))
        .otherwise(F.concat(F.format_number(days, 0), F.lit(" days ago")))
    )


def list_batches(batches: Iterable[pa.RecordBatch], model: Model, k: int, protocol: str) -> Iterator[pa.RecordBatch]:
    """The kernel of `list_items` over Arrow batches of `with_queries`."""
    for arrow in batches:
        for batch in query_batches(arrow):
            for lists in rank_batch(model, batch, k):
                if lists.protocol == protocol:
                    yield _rows_of(lists, batch, arrow.column("customer_id"))


def _rows_of(lists: Lists, batch: QueryBatch, customer_ids: pa.Array) -> pa.RecordBatch:
    rows = np.repeat(np.arange(len(batch)), np.diff(lists.offsets))
    ranks = np.arange(len(rows)) - lists.offsets[rows] + 1
    times, days = _purchases(batch, rows, lists.items)
    return pa.RecordBatch.from_arrays(
        [
            customer_ids.take(pa.array(batch.customers[rows])),
            pa.array(lists.items),
            pa.array(ranks.astype(np.int32)),
            pa.array(lists.scores),
            pa.array(ranks <= lists.num_scored[rows]),
            pa.array(times),
            pa.array(days, mask=times == 0),
        ],
        names=[part.split()[0] for part in _LISTED.split(", ")],
    )


def _purchases(batch: QueryBatch, rows: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each listed item was bought by its query's customer, and whole days since the last time (else 0)."""
    event_rows, positions = batch.earlier()
    width = 1 + max(int(items.max(initial=0)), int(batch.events.items.max(initial=0)))
    pairs, inverse, counts = np.unique(
        event_rows * width + batch.events.items[positions], return_inverse=True, return_counts=True
    )
    if len(pairs) == 0:
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    latest = np.zeros(len(pairs), dtype=np.int64)
    np.maximum.at(latest, inverse, positions)
    wanted = rows * width + items
    found = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    is_own = pairs[found] == wanted
    days = np.floor(batch.days_before(rows, latest[found])).astype(np.int64)
    return np.where(is_own, counts[found], 0), np.where(is_own, days, 0)
