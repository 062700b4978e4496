"""Why a product is recommended: the kind of reason, its facts as data, and a sentence. Native expressions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from recsys_spark.baselines.ranking import Scored
from recsys_spark.candidates.purchases import find, pair_keys
from recsys_spark.contracts.recommend_config import ReasonsConfig
from recsys_spark.contracts.schemas import REASON_FACTS
from recsys_spark.recommendations.policy import Entries

REPEAT, TOGETHER, SIMILAR, CATEGORY, POPULAR = KINDS = (
    "repeat",
    "bought_together",
    "similar",
    "popular_in_category",
    "popular",
)
TOP_OF_CATEGORY = 20  # best sellers that count as popular in their category
CUSTOMERS_PER_BASKET = 4  # who bought both, at most, for each basket that held both: then one goes with the other
# What was bought before speaks for itself. Of the other kinds the first that has evidence is told, in the order that
# says best what the item's best source has seen; the last holds for every item.
_BY_NEIGHBOURS = (TOGETHER, SIMILAR, CATEGORY, POPULAR)
_BY_VECTORS = (SIMILAR, TOGETHER, CATEGORY, POPULAR)
_BY_CATEGORY = (CATEGORY, TOGETHER, SIMILAR, POPULAR)
_BY_SALES = (POPULAR,)
_ORDER_OF_SOURCE = {
    **dict.fromkeys(("two_tower_all", "two_tower_first", "two_tower_plain"), _BY_VECTORS),
    "category_popularity": _BY_CATEGORY,
    **dict.fromkeys(("popularity", "recent_popularity", "rolling_popularity"), _BY_SALES),
}
_ISOLATE, _END = "\u2068", "\u2069"  # keep the direction of a foreign text to itself: Arabic in an English sentence


def kind_of_reason(options: ReasonsConfig) -> Column:
    """One of KINDS, from the columns that `facts.with_facts` adds; best_source: the source or the model to explain."""
    has = {
        TOGETHER: F.col("other_customers") >= options.min_customers,
        SIMILAR: F.col("similarity") >= options.min_similarity,
        CATEGORY: F.col("category_rank").between(1, TOP_OF_CATEGORY) & (F.col("category_times") > 0),
        POPULAR: F.lit(True),
    }
    kind = _first_of(_BY_NEIGHBOURS, has)
    for source, order in _ORDER_OF_SOURCE.items():
        kind = F.when(F.col("best_source") == source, _first_of(order, has)).otherwise(kind)
    return F.when(F.col("times_bought") > 0, F.lit(REPEAT)).otherwise(kind)


def _first_of(order: tuple[str, ...], has: Mapping[str, Column]) -> Column:
    return F.coalesce(*(F.when(has[kind], F.lit(kind)) for kind in order))


def facts_of_reason(recent_days: int) -> Column:
    """REASON_FACTS of the row's reason_kind; a field that says nothing of that kind is null."""
    kind, is_recent = F.col("reason_kind"), F.col("num_recent_events") > 0

    def of(*kinds: str, value: Column) -> Column:
        return F.when(kind.isin(*kinds), value)

    def recent(column: str, ever: str) -> Column:
        return of(CATEGORY, POPULAR, value=F.when(is_recent, F.col(column)).otherwise(F.col(ever)))

    values = {
        **{name: of(REPEAT, value=F.col(name)) for name in ("times_bought", "days_ago", "gap_days")},
        **{f"own_{name}": _own(kind, name) for name in ("stock_code", "description", "days_ago")},
        **{name: of(TOGETHER, value=F.col(name)) for name in ("other_customers", "other_baskets")},
        "similarity": of(SIMILAR, value=F.col("similarity")),
        **{name: of(CATEGORY, value=F.col(name)) for name in ("category", "category_rank", "category_times")},
        "num_events": recent("num_recent_events", "num_events"),
        "num_customers": recent("num_recent_customers", "num_customers"),
        "recent_days": of(CATEGORY, POPULAR, value=F.when(is_recent, F.lit(recent_days))),
    }
    return F.struct(*(values[name].cast(type_).alias(name) for name, type_ in REASON_FACTS.items()))


def _own(kind: Column, name: str) -> Column:
    together, similar = F.col(f"together_{name}"), F.col(f"similar_{name}")
    return F.when(kind == TOGETHER, together).when(kind == SIMILAR, similar)


def sentence() -> Column:
    """The reason in words, from reason_kind and reason_facts."""
    fact = {name: F.col(f"reason_facts.{name}") for name in REASON_FACTS}
    own, ago = _named(fact["own_stock_code"], fact["own_description"]), _ago(fact["own_days_ago"])
    which = F.concat(own, F.lit(", which this customer bought "), ago)
    category = F.concat(F.lit(" in "), _isolated(fact["category"]), F.lit(", where this customer bought "))
    texts = {
        REPEAT: _repeat(fact),
        TOGETHER: _together(fact, own, which, ago),
        SIMILAR: F.concat(F.lit("bought in much the same way as "), which),
        CATEGORY: F.concat(
            F.lit("best seller no. "),
            F.format_number(fact["category_rank"], 0),
            category,
            _times(fact["category_times"]),
            F.lit(": "),
            _sold(fact),
        ),
        POPULAR: _sold(fact),
    }
    return F.coalesce(*(F.when(F.col("reason_kind") == kind, text) for kind, text in texts.items()))


def _repeat(fact: Mapping[str, Column]) -> Column:
    times, days = fact["times_bought"], F.round(fact["gap_days"]).cast("bigint")
    every = F.when(days == 1, F.lit("day")).otherwise(F.concat(F.format_number(days, 0), F.lit(" days")))
    cadence = (
        F.when(F.coalesce(days, F.lit(0)) < 1, F.lit(""))
        .when(times == 2, F.concat(F.lit(", "), _counted(days, "day"), F.lit(" apart")))
        .otherwise(F.concat(F.lit(", about every "), every))
    )
    last = F.when(times == 1, F.lit(", ")).otherwise(F.lit(", last "))
    return F.concat(F.lit("bought "), _times(times), cadence, last, _ago(fact["days_ago"]))


def _together(fact: Mapping[str, Column], own: Column, which: Column, ago: Column) -> Column:
    """Two products go together where orders hold both; others have the same buyers and no more."""
    customers, baskets = fact["other_customers"], fact["other_baskets"]
    both = F.concat(F.lit(": "), _counted(customers, "other customer"), F.lit(" bought both, "))
    goes_with = F.concat(F.lit("goes with "), which, both, _counted(baskets, "order"), F.lit(" had both"))
    told = F.concat(_counted(customers, "other customer"), F.lit(" who bought "), own)
    also = F.concat(told, F.lit(", as this one did "), ago, F.lit(", bought it too"))
    return F.when(baskets * CUSTOMERS_PER_BASKET >= customers, goes_with).otherwise(also)


def _sold(fact: Mapping[str, Column]) -> Column:
    when = F.concat(F.lit(" in the last "), F.format_number(fact["recent_days"], 0), F.lit(" days"))
    buyers = _counted(fact["num_customers"], "customer")
    told = F.concat(F.lit("sold "), _times(fact["num_events"]), F.lit(" to "), buyers)
    return F.concat(told, F.coalesce(when, F.lit(" so far")))


def _named(code: Column, description: Column) -> Column:
    """Description and code, or the code alone where there is no description."""
    in_brackets = F.concat(F.lit(" ("), _isolated(code), F.lit(")"))
    return F.coalesce(F.concat(_isolated(description), in_brackets), _isolated(code))


def _isolated(text: Column) -> Column:
    return F.concat(F.lit(_ISOLATE), text, F.lit(_END))


def _times(count: Column) -> Column:
    many = F.concat(F.format_number(count, 0), F.lit(" times"))
    return F.when(count == 1, F.lit("once")).when(count == 2, F.lit("twice")).otherwise(many)


def _ago(days: Column) -> Column:
    return F.when(days == 0, F.lit("today")).otherwise(F.concat(_counted(days, "day"), F.lit(" ago")))


def _counted(count: Column, thing: str) -> Column:
    return F.concat(F.format_number(count, 0), F.when(count == 1, F.lit(f" {thing}")).otherwise(F.lit(f" {thing}s")))


def told_sources(chosen: Entries, scored: Scored) -> pa.Array:
    """Of each item the sources that have a rank for it, best first: arrays of (source, rank).

    scored: what `chosen` is of. Null for an item that no source proposed, and of a model of one stage.
    """
    ranks = scored.source_ranks or {}
    names, keys = pa.array(list(ranks), pa.string()), pair_keys(scored.rows, scored.items)
    order = np.argsort(keys)
    places, is_there = find(keys[order], pair_keys(chosen.rows, chosen.items))
    if not ranks or not len(keys):
        return pa.nulls(len(chosen.rows), pa.list_(pa.struct([("source", pa.string()), ("rank", pa.int32())])))
    told = np.stack(list(ranks.values()), axis=1)[order[places]] * is_there[:, None]
    rows, sources = np.nonzero(told)
    best_first = np.lexsort((sources, told[rows, sources], rows))
    rows, sources = rows[best_first], sources[best_first]
    values = pa.StructArray.from_arrays(
        [names.take(pa.array(sources)), pa.array(told[rows, sources].astype(np.int32))], names=["source", "rank"]
    )
    sizes = np.bincount(rows, minlength=len(told))
    starts = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32), mask=np.append(sizes == 0, False))
    return pa.ListArray.from_arrays(starts, values)
