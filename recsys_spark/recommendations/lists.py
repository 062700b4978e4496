"""Lists for every customer as of a moment: rankings under the rules, with what speaks for each listed item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Ints, pair_keys
from recsys_spark.baselines.purchases import Purchases
from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.baselines.ranking import Model, Popular, Scored, rank_batch
from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.evaluation.protocols import ALL_ITEMS, FIRST_PURCHASE
from recsys_spark.recommendations.evidence import EvidenceSource, category_purchases, own_purchases
from recsys_spark.recommendations.policy import Asked, FilledLists, Policy, entries_of, make_lists, offered
from recsys_spark.recommendations.reasons import told_sources
from recsys_spark.recommendations.rules import RULES, ItemRules

# One row per customer and listed item; and, of rank 0, one per customer whose ranking rules have shortened.
LISTED_SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("item_idx", pa.int64()),
        ("rank", pa.int32()),
        ("score", pa.float64()),
        ("is_scored", pa.bool_()),  # by the model, rather than being a popular one behind its own
        ("times_bought", pa.int64()),
        ("days_ago", pa.int64()),  # null where it was never bought
        ("gap_days", pa.float64()),  # null below two purchases
        ("source_ranks", pa.list_(pa.struct([("source", pa.string()), ("rank", pa.int32())]))),
        ("together_idx", pa.int64()),  # a product of the customer's, null where none is known to go with the item
        ("together_days", pa.int64()),
        ("similar_idx", pa.int64()),
        ("similar_days", pa.int64()),
        ("similarity", pa.float64()),
        ("category_times", pa.int64()),  # purchases of the customer in the item's category
        ("passed_over", pa.list_(pa.int64())),  # of rank 0: entries of the ranking that each of RULES kept out
        ("missing", pa.int64()),  # of rank 0: how many items the list is short of
    ]
)
LISTED = (
    "customer_id string, item_idx bigint, rank int, score double, is_scored boolean, times_bought bigint, "
    "days_ago bigint, gap_days double, source_ranks array<struct<source:string,rank:int>>, together_idx bigint, "
    "together_days bigint, similar_idx bigint, similar_days bigint, similarity double, category_times bigint, "
    "passed_over array<bigint>, missing bigint"
)


@dataclass(frozen=True)
class Lister:
    """What makes lists, as it travels to the tasks. rules: loads those of items inside the task."""

    model: Model
    policy: Policy
    rules: Callable[[], ItemRules]
    evidence: EvidenceSource


def queries_at(customer_ids: DataFrame, interactions: DataFrame, moment: DataFrame) -> DataFrame:
    """One query for each customer with an event before the moment: user_idx, customer_id, query_id, event_time.

    moment: of `moment_after`.
    """
    before = interactions.join(F.broadcast(moment), on=F.col("invoice_date") < F.col("event_time"), how="inner")
    known = customer_ids.join(before.select("customer_id", "event_time").distinct(), on="customer_id", how="inner")
    return known.select("user_idx", "customer_id", F.col("user_idx").alias("query_id"), "event_time")


def list_items(asked: DataFrame, lister: Lister) -> DataFrame:
    """LISTED. asked: of `with_queries`, one query per customer, and `excluded`, item_idx that are not for it, or null
    (see rule_tables.py).
    """
    return asked.mapInArrow(partial(list_batches, lister=lister), LISTED)


def passed_over(listed: DataFrame) -> dict[str, int]:
    """How many entries of all rankings each rule kept out, by `removed_<rule>`, and how many lists are short."""
    sums = [F.sum(F.col("passed_over")[place]).alias(f"removed_{rule}") for place, rule in enumerate(RULES)]
    short = F.count(F.when(F.col("missing") > 0, 1)).alias("short_lists")
    row = listed.agg(*sums, short).first()
    assert row is not None  # an aggregate without keys has one row
    return {name: value for name, value in row.asDict().items() if value}


def list_batches(batches: Iterable[pa.RecordBatch], lister: Lister) -> Iterator[pa.RecordBatch]:
    """The kernel of `list_items` over Arrow batches."""
    for arrow in batches:
        for batch in query_batches(arrow):
            scored = lister.model.score(replace(batch, depth=LIST_LENGTH))
            bought, excluded = batch.purchases, excluded_keys(arrow, batch.customers)
            listed = listed_of(lister, batch, bought, scored, excluded)
            customer_ids = arrow.column("customer_id").take(pa.array(batch.customers))
            yield items_of(lister, listed, batch, bought, scored, customer_ids)
            yield _removed_of(listed, customer_ids, lister.policy.top_n)


def listed_of(
    lister: Lister, batch: QueryBatch, bought: Purchases, scored: Scored, excluded: Ints, new_only: bool = False
) -> FilledLists:
    """The list of each query. bought: of the batch; scored: what the model says of it; excluded: see `Asked`.

    new_only: nothing that was bought before, which is the protocol first_purchase.
    """
    asked, popular = Asked(batch.micros, bought.keys, excluded), lister.model.popular()
    ranked = {lists.protocol: lists for lists in rank_batch(Ready(lister.model, scored), batch, LIST_LENGTH)}
    if new_only:
        entries = entries_of(ranked[FIRST_PURCHASE], asked)
    else:
        entries = offered(ranked[ALL_ITEMS], ranked[FIRST_PURCHASE], asked, lister.policy.share_new, popular)
    return make_lists(entries, asked, lister.policy, lister.rules(), popular, new_only)


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


def excluded_keys(arrow: pa.RecordBatch, customers: Ints) -> Ints:
    """The column `excluded` as ascending pairs of query and item. customers: row of each query's customer, (Q,)."""
    if "excluded" not in arrow.schema.names:
        return np.zeros(0, dtype=np.int64)
    lists = arrow.column("excluded").take(pa.array(customers))
    sizes = np.nan_to_num(lists.value_lengths().to_numpy(zero_copy_only=False)).astype(np.int64)
    return np.sort(pair_keys(np.repeat(np.arange(len(customers)), sizes), lists.flatten().to_numpy()))


def items_of(
    lister: Lister, listed: FilledLists, batch: QueryBatch, bought: Purchases, scored: Scored, customer_ids: pa.Array
) -> pa.RecordBatch:
    """The rows of LISTED of what is listed, query by query. customer_ids: of each query, (Q,); see `listed_of`."""
    chosen, evidence, category = listed.chosen, lister.evidence, lister.rules().category
    rows, items = chosen.rows, chosen.items
    own = own_purchases(batch, bought, rows, items)
    is_own = own.times > 0
    new = np.flatnonzero(~is_own)  # what was bought before speaks for itself
    together = evidence.together(batch, bought, rows[new], items[new])
    similar = evidence.similar(batch, bought, rows[new], items[new])
    columns = {
        "customer_id": customer_ids.take(pa.array(rows)),
        "item_idx": pa.array(items),
        "rank": pa.array(chosen.ranks.astype(np.int32)),
        "score": pa.array(chosen.scores),
        "is_scored": pa.array(chosen.is_scored),
        "times_bought": pa.array(own.times),
        "days_ago": pa.array(own.days, mask=~is_own),
        "gap_days": pa.array(own.gap_days, mask=np.isnan(own.gap_days)),
        "source_ranks": told_sources(chosen, scored),
        "together_idx": _at(new, together.items, together.items, len(rows)),
        "together_days": _at(new, together.days, together.items, len(rows)),
        "similar_idx": _at(new, similar.items, similar.items, len(rows)),
        "similar_days": _at(new, similar.days, similar.items, len(rows)),
        "similarity": _at(new, similar.scores, similar.items, len(rows)),
        "category_times": pa.array(category_purchases(batch, rows, items, category)),
    }
    return _batch(columns, len(rows))


def _removed_of(listed: FilledLists, customer_ids: pa.Array, top_n: int) -> pa.RecordBatch:
    missing = top_n - np.bincount(listed.chosen.rows, minlength=len(customer_ids))
    kept = np.flatnonzero((missing > 0) | listed.passed_over.any(axis=1))
    offsets = np.arange(len(kept) + 1, dtype=np.int32) * len(RULES)
    columns = {
        "customer_id": customer_ids.take(pa.array(kept)),
        "rank": pa.array(np.zeros(len(kept), dtype=np.int32)),
        "passed_over": pa.ListArray.from_arrays(pa.array(offsets), pa.array(listed.passed_over[kept].ravel())),
        "missing": pa.array(missing[kept]),
    }
    return _batch(columns, len(kept))


def _batch(columns: dict[str, pa.Array], size: int) -> pa.RecordBatch:
    """Rows of LISTED; columns that are not given are null."""
    arrays = [columns[field.name] if field.name in columns else pa.nulls(size, field.type) for field in LISTED_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=LISTED_SCHEMA)


def _at(places: Ints, values: np.ndarray, items: Ints, size: int) -> pa.Array:
    """Values at some of `size` places; null elsewhere and where the item is 0."""
    whole, is_null = np.zeros(size, dtype=values.dtype), np.ones(size, dtype=bool)
    whole[places], is_null[places] = values, items == 0
    return pa.array(whole, mask=is_null)
