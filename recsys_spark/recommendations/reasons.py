"""Why a product is recommended: the kind of reason, its facts as data, and a sentence. For tasks and servers alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from recsys_spark.arrays import find, pair_keys
from recsys_spark.baselines.ranking import Scored
from recsys_spark.contracts.model_config import CATEGORY as CATEGORY_SEGMENT
from recsys_spark.contracts.model_config import SEGMENT_KINDS, SEGMENT_POPULARITY
from recsys_spark.contracts.recommend_config import ReasonsConfig
from recsys_spark.contracts.schemas import REASON_FACTS
from recsys_spark.plurals import counted
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
    CATEGORY_SEGMENT: _BY_CATEGORY,
    **dict.fromkeys(("showroom", "sales_channel"), _BY_SALES),  # segments
    **dict.fromkeys(("popularity", "recent_popularity", "rolling_popularity"), _BY_SALES),
}
_ISOLATE, _END = "\u2068", "\u2069"  # keep the direction of a foreign text to itself: Arabic in an English sentence
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Reason:
    """kind: one of KINDS; facts: REASON_FACTS, None for what says nothing of that kind; text: the same in words."""

    kind: str
    facts: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Teller:
    """Tells the reasons of what a model ranked. recent_days: what counts as recent sales."""

    model: str
    options: ReasonsConfig
    recent_days: int

    def reason(self, row: Facts) -> Reason:
        """row: of lists.LISTED, with what is known of the item and of the customer's products beside it, by the names
        of `Sales.of_items` and `other_customers`, `other_baskets`, `together_stock_code` and so on.
        """
        kind = kind_of_reason(row, _best_source(row) or self.ranked_by(row), self.options)
        facts = facts_of_reason(kind, row, self.recent_days)
        return Reason(kind, facts, sentence(kind, facts))

    def ranked_by(self, row: Facts) -> str:
        """The model that ranked the item, or what it stands behind it: segment popularity, or a popular one."""
        if not row["is_scored"]:
            return "popularity"
        return SEGMENT_POPULARITY if _best_source(row) in SEGMENT_KINDS else self.model


def _best_source(row: Facts) -> str | None:
    """The source, or kind of segment, that ranks the item best; None where nothing of the kind ranks it."""
    sources = row["source_ranks"]
    return str(sources[0]["source"]) if sources else None


def sources_in_words(row: Facts) -> str | None:
    """Sources with their ranks, best first, such as `own 3, item_knn 12`; None for an item that none proposed."""
    sources = row["source_ranks"]
    return None if sources is None else ", ".join(f"{each['source']} {each['rank']}" for each in sources)


def kind_of_reason(row: Facts, best_source: str, options: ReasonsConfig) -> str:
    """One of KINDS."""
    if row["times_bought"]:
        return REPEAT
    has = {
        TOGETHER: (row["other_customers"] or 0) >= options.min_customers,
        SIMILAR: (row["similarity"] or 0.0) >= options.min_similarity,
        CATEGORY: 1 <= (row["category_rank"] or 0) <= TOP_OF_CATEGORY and bool(row["category_times"]),
        POPULAR: True,
    }
    return next(kind for kind in _ORDER_OF_SOURCE.get(best_source, _BY_NEIGHBOURS) if has[kind])


def facts_of_reason(kind: str, row: Facts, recent_days: int) -> dict[str, Any]:
    """REASON_FACTS of a kind; a field that says nothing of it is None."""
    facts: dict[str, Any] = dict.fromkeys(REASON_FACTS)
    if kind == REPEAT:
        facts |= {name: row[name] for name in ("times_bought", "days_ago", "gap_days")}
    if kind in (TOGETHER, SIMILAR):
        own = "together" if kind == TOGETHER else "similar"
        facts |= {f"own_{name}": row[f"{own}_{name}"] for name in ("stock_code", "description")}
        facts["own_days_ago"] = row[f"{own}_days"]
    if kind == TOGETHER:
        facts |= {name: row[name] for name in ("other_customers", "other_baskets")}
    if kind == SIMILAR:
        facts["similarity"] = row["similarity"]
    if kind == CATEGORY:
        facts |= {name: row[name] for name in ("category", "category_rank", "category_times")}
    if kind in (CATEGORY, POPULAR):
        is_recent = bool(row["num_recent_events"])
        when = "num_recent_" if is_recent else "num_"
        facts |= {f"num_{name}": row[f"{when}{name}"] for name in ("events", "customers")}
        facts["recent_days"] = recent_days if is_recent else None
    return facts


def sentence(kind: str, facts: Facts) -> str:
    """The reason in words."""
    if kind == REPEAT:
        return _repeat(facts)
    if kind == TOGETHER:
        return _together(facts)
    if kind == SIMILAR:
        return f"bought in much the same way as {_own(facts)}, which this customer bought {_ago(facts['own_days_ago'])}"
    if kind == CATEGORY:
        best = f"best seller no. {facts['category_rank']:,} in {_isolated(facts['category'])}"
        return f"{best}, where this customer bought {_times(facts['category_times'])}: {_sold(facts)}"
    return _sold(facts)


def _repeat(facts: Facts) -> str:
    times, gap = facts["times_bought"], math.floor((facts["gap_days"] or 0.0) + 0.5)
    cadence = ""
    if gap >= 1:
        every = "day" if gap == 1 else f"{gap:,} days"
        cadence = f", {counted(gap, 'day')} apart" if times == 2 else f", about every {every}"
    return f"bought {_times(times)}{cadence}, {'' if times == 1 else 'last '}{_ago(facts['days_ago'])}"


def _together(facts: Facts) -> str:
    """Two products go together where orders hold both; others have the same buyers and no more."""
    customers, baskets = facts["other_customers"], facts["other_baskets"]
    others, own, ago = counted(customers, "other customer"), _own(facts), _ago(facts["own_days_ago"])
    if baskets * CUSTOMERS_PER_BASKET >= customers:
        both = f"{others} bought both, {counted(baskets, 'order')} had both"
        return f"goes with {own}, which this customer bought {ago}: {both}"
    return f"{others} who bought {own}, as this one did {ago}, bought it too"


def _sold(facts: Facts) -> str:
    days = facts["recent_days"]
    when = "so far" if days is None else f"in the last {days:,} days"
    return f"sold {_times(facts['num_events'])} to {counted(facts['num_customers'], 'customer')} {when}"


def _own(facts: Facts) -> str:
    """Description and code, or the code alone where there is no description."""
    code, description = _isolated(facts["own_stock_code"]), facts["own_description"]
    return code if description is None else f"{_isolated(description)} ({code})"


def _isolated(text: str) -> str:
    return f"{_ISOLATE}{text}{_END}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _ago(days: int) -> str:
    """days: whole ones, of 24 hours: none lie between an evening and the next morning."""
    return "less than a day ago" if days == 0 else f"{counted(days, 'day')} ago"


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
