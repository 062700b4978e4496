"""Lists for every customer as of the end of the data, each item with the facts that its reason tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.baselines.ranking import Lists, Model, Popular, Scored, rank_batch
from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.contracts.model_config import SEGMENT_KINDS, SEGMENT_POPULARITY
from recsys_spark.contracts.schemas import RECOMMENDATIONS
from recsys_spark.recommendations.policy import Chosen, first_of, with_share
from recsys_spark.recommendations.reasons import reason, told_sources
from recsys_spark.workbook_writer import SheetColumn

_LISTED = (
    "customer_id string, item_idx bigint, rank int, score double, is_scored boolean, times_bought bigint, "
    "days_ago bigint, sources string, best_source string"
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


def queries_at(customer_ids: DataFrame, interactions: DataFrame, moment: DataFrame) -> DataFrame:
    """One query for each customer with an event before the moment: user_idx, customer_id, query_id, event_time.

    moment: of `moment_after`.
    """
    before = interactions.join(F.broadcast(moment), on=F.col("invoice_date") < F.col("event_time"), how="inner")
    known = customer_ids.join(before.select("customer_id", "event_time").distinct(), on="customer_id", how="inner")
    return known.select("user_idx", "customer_id", F.col("user_idx").alias("query_id"), "event_time")


def list_items(asked: DataFrame, model: Model, top_n: int, share_new: float | None) -> DataFrame:
    """One row per customer and listed item, with how often and how lately the customer bought it.

    asked: of `with_queries`, one query per customer. is_scored: the model ranked the item, rather than it being a
    popular one behind the model's own. days_ago is null where times_bought is 0, sources and best_source are where no
    source proposed the item.
    """
    return asked.mapInArrow(partial(list_batches, model=model, top_n=top_n, share_new=share_new), _LISTED)


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
        F.when(~F.col("is_scored"), "popularity")
        .when(F.col("best_source").isin(*SEGMENT_KINDS), SEGMENT_POPULARITY)
        .otherwise(model)
        .alias("model"),
        "sources",
    ).select(*RECOMMENDATIONS.names)


def list_batches(
    batches: Iterable[pa.RecordBatch], model: Model, top_n: int, share_new: float | None
) -> Iterator[pa.RecordBatch]:
    """The kernel of `list_items` over Arrow batches of `with_queries`."""
    for arrow in batches:
        for batch in query_batches(arrow):
            scored = model.score(replace(batch, depth=LIST_LENGTH))
            chosen = chosen_of(model, batch, scored, top_n, share_new)
            yield _rows_of(chosen, batch, scored, arrow.column("customer_id"))


def chosen_of(model: Model, batch: QueryBatch, scored: Scored, top_n: int, share_new: float | None) -> Chosen:
    """The list of each query from what the model scored; share_new: see `with_share`, None for the model's order."""
    lists, new = _lists_of(model, batch, scored)
    if share_new is None:
        return first_of(lists, top_n)
    rows = np.repeat(np.arange(len(batch)), np.diff(lists.offsets))
    return with_share(lists, new, purchases_of(batch, rows, lists.items)[0] > 0, share_new, top_n)


def new_of(model: Model, batch: QueryBatch, scored: Scored, top_n: int) -> Chosen:
    """The list of each query of what its customer never bought, from what the model scored."""
    return first_of(_lists_of(model, batch, scored)[1], top_n)


def _lists_of(model: Model, batch: QueryBatch, scored: Scored) -> tuple[Lists, Lists]:
    """The lists of all items, and of those never bought."""
    ranked = rank_batch(Ready(model, scored), batch, LIST_LENGTH)
    of_protocol = {lists.protocol: lists for lists in ranked}
    return of_protocol["all_items"], of_protocol["first_purchase"]


@dataclass(frozen=True)
class Ready:
    """A model whose scores are there already."""

    model: Model
    scored: Scored

    @property
    def name(self) -> str:
        return self.model.name

    def popular(self) -> Popular:
        return self.model.popular()

    def score(self, _: QueryBatch) -> Scored:
        return self.scored


def _rows_of(chosen: Chosen, batch: QueryBatch, scored: Scored, customer_ids: pa.Array) -> pa.RecordBatch:
    times, days = purchases_of(batch, chosen.rows, chosen.items)
    sources, best = told_sources(chosen, scored)
    return pa.RecordBatch.from_arrays(
        [
            customer_ids.take(pa.array(batch.customers[chosen.rows])),
            pa.array(chosen.items),
            pa.array(chosen.ranks.astype(np.int32)),
            pa.array(chosen.scores),
            pa.array(chosen.is_scored),
            pa.array(times),
            pa.array(days, mask=times == 0),
            pa.array(sources, pa.string()),
            pa.array(best, pa.string()),
        ],
        names=[part.split()[0] for part in _LISTED.split(", ")],
    )


def purchases_of(batch: QueryBatch, rows: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
