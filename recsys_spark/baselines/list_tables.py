"""Rank queries and find their positives in the lists, in one pass: what RANKINGS and POSITIVE_RANKS are made of.

Names: Q queries of a batch, P positives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints
from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.baselines.ranking import Lists, Model, rank_batch, rankings_batch
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS
from recsys_spark.contracts.schemas import POSITIVE_RANKS
from recsys_spark.evaluation.protocols import ALL_ITEMS, FIRST_PURCHASE, MASKED_NEW, MASKED_SEEN

TABLES = (artifacts.RANKINGS, artifacts.POSITIVE_RANKS)
_LISTS, _RANKS = range(len(TABLES))

# Makes, inside a task, the models of an Arrow batch: what orders every list, and, where there is another, what orders
# that of first purchases.
ModelsOf = Callable[[pa.RecordBatch], Sequence[Model]]


@dataclass(frozen=True)
class Always:
    """The same models for all batches."""

    models: tuple[Model, ...]

    def __call__(self, _batch: pa.RecordBatch) -> Sequence[Model]:
        return self.models


@dataclass(frozen=True)
class ListTables:
    """A kernel over `with_positives`: yields rows of TABLES, by their places there.

    codes: loads the stock codes as an array whose position is the item_idx.
    """

    models: ModelsOf
    codes: Callable[[], pa.Array]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        for arrow, batch, lists in _ranked(batches, self.models):
            for protocol in LIST_PROTOCOLS:
                yield _LISTS, rankings_batch(arrow, batch, lists[protocol], self.codes)
            yield _RANKS, _ranks_batch(Positives.of(arrow, batch), batch, lists)


def ranks_of_positives(asked: DataFrame, models: ModelsOf) -> DataFrame:
    """POSITIVE_RANKS alone. asked: of `with_positives`."""
    return asked.mapInArrow(partial(_ranks_of, models=models), POSITIVE_RANKS.ddl)


def with_positives(asked: DataFrame, positives: DataFrame) -> DataFrame:
    """A frame of `with_queries` with an array of each customer's positives beside its queries.

    positives: SEQUENCES; those of queries that `asked` lacks are left out.
    """
    wanted = F.array_sort(F.collect_list(F.struct("query_id", "pos_item_idx", "is_repeat")))
    return asked.join(positives.groupBy("user_idx").agg(wanted.alias("positives")), on="user_idx", how="left")


def lists_by_protocol(models: Sequence[Model], batch: QueryBatch) -> dict[str, Lists]:
    """Each query's lists of LIST_LENGTH: of the first model, and of a second the list of first purchases.

    Then what the first model puts first among never bought items is masked_new, which masked_seen wants.
    """
    lists = {each.protocol: each for each in rank_batch(models[0], batch, LIST_LENGTH)}
    if len(models) > 1:
        lists.setdefault(MASKED_NEW, replace(lists[FIRST_PURCHASE], protocol=MASKED_NEW))
        others = {each.protocol: each for each in rank_batch(models[1], batch, LIST_LENGTH)}
        lists[FIRST_PURCHASE] = others[FIRST_PURCHASE]
    return lists


@dataclass(frozen=True)
class Positives:
    """P positives of a batch: row of the query, item_idx, and whether its customer had bought it before, (P,) each.

    Ascending by row and item. A query wants an item once, as in SEQUENCES.
    """

    rows: Ints
    items: Ints
    is_repeat: npt.NDArray[np.bool_]

    @staticmethod
    def of(arrow: pa.RecordBatch, batch: QueryBatch) -> Positives:
        """Those of the queries of `batch`, which is a part of an Arrow batch of `with_positives`."""
        every = arrow.column("positives").flatten()
        ids, items, is_repeat = (
            every.field(name).to_numpy(zero_copy_only=False) for name in ("query_id", "pos_item_idx", "is_repeat")
        )
        order = np.argsort(batch.query_ids)
        place = np.minimum(np.searchsorted(batch.query_ids, ids, sorter=order), len(batch) - 1)
        rows = order[place]
        own = np.flatnonzero(batch.query_ids[rows] == ids)
        own = own[np.lexsort((items[own], rows[own]))]
        return Positives(rows[own], items[own], is_repeat[own].astype(bool))

    def __len__(self) -> int:
        return len(self.rows)

    def places_in(self, lists: Lists) -> Ints:
        """Where each positive stands in its query's list, which names an item once; from 0, -1 without it. (P,)"""
        places = np.full(len(self), -1)
        if not len(self):
            return places
        width = 1 + max(int(self.items.max()), int(lists.items.max(initial=0)))
        wanted = self.rows * width + self.items
        owner = np.repeat(np.arange(len(lists.offsets) - 1), np.diff(lists.offsets))
        keys = owner * width + lists.items
        found = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
        entries = np.flatnonzero(wanted[found] == keys)
        places[found[entries]] = entries - lists.offsets[owner[entries]]
        return places


def ranks_by_protocol(wanted: Positives, lists: Mapping[str, Lists]) -> Iterator[tuple[str, Ints, Ints]]:
    """Of each protocol its name, the positives that it counts and their ranks from 1, 0 for none within LIST_LENGTH.

    As `evaluation.protocols.positive_ranks`, where each rule is told, finds them in lists that lie in a table.
    """
    every, first = np.arange(len(wanted)), np.flatnonzero(~wanted.is_repeat)
    yield ALL_ITEMS, every, _as_ranks(wanted.places_in(lists[ALL_ITEMS]))
    yield FIRST_PURCHASE, first, _as_ranks(wanted.places_in(lists[FIRST_PURCHASE])[first])
    of_new = _as_ranks(wanted.places_in(lists.get(MASKED_NEW, lists[FIRST_PURCHASE])))
    yield MASKED_SEEN, every, np.where(wanted.is_repeat, _behind_new_items(wanted, lists[MASKED_SEEN]), of_new)


def _as_ranks(places: Ints) -> Ints:
    return np.where(places < LIST_LENGTH, places + 1, 0)


def _behind_new_items(wanted: Positives, order: Lists) -> Ints:
    """Ranks of positives behind the never bought items that stand before them."""
    assert order.is_new is not None
    reached = np.cumsum(np.append(0, order.is_new))
    places, start = wanted.places_in(order), order.offsets[wanted.rows]
    num_new = reached[start + np.maximum(places, 0)] - reached[start]
    return np.where(places < 0, 0, _as_ranks(num_new))


def _ranked(
    batches: Iterable[pa.RecordBatch], models_of: ModelsOf
) -> Iterator[tuple[pa.RecordBatch, QueryBatch, dict[str, Lists]]]:
    for arrow in batches:
        models = models_of(arrow)
        for batch in query_batches(arrow):
            yield arrow, batch, lists_by_protocol(models, batch)


def _ranks_of(batches: Iterable[pa.RecordBatch], models: ModelsOf) -> Iterator[pa.RecordBatch]:
    for arrow, batch, lists in _ranked(batches, models):
        yield _ranks_batch(Positives.of(arrow, batch), batch, lists)


def _ranks_batch(wanted: Positives, batch: QueryBatch, lists: Mapping[str, Lists]) -> pa.RecordBatch:
    """POSITIVE_RANKS of a batch."""
    found = list(ranks_by_protocol(wanted, lists))
    at = np.concatenate([counted for _, counted, _ in found])
    ranks = np.concatenate([ranks for _, _, ranks in found])
    protocols = [pa.array([name] * len(counted), pa.string()) for name, counted, _ in found]
    columns = {
        "query_id": pa.array(batch.query_ids[wanted.rows[at]]),
        "user_idx": pa.array(batch.users[wanted.rows[at]]),
        "pos_item_idx": pa.array(wanted.items[at]),
        "protocol": pa.concat_arrays(protocols),
        "rank": pa.array(ranks.astype(np.int32), mask=ranks == 0),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in POSITIVE_RANKS.names], names=POSITIVE_RANKS.names)
