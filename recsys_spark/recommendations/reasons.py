"""Why a product is recommended, in words, and which sources proposed it."""

from __future__ import annotations

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

from recsys_spark.baselines.ranking import Scored
from recsys_spark.candidates.purchases import find, pair_keys
from recsys_spark.recommendations.policy import Chosen

_REASON_OF_SOURCE = {
    "item_knn": "goes with what the customer buys",
    "ease": "goes with what the customer buys",
    "last_basket": "goes with the customer's last order",
    "user_knn": "bought by customers who buy alike",
    "two_tower_all": "fits what the customer buys",
    "two_tower_first": "fits what the customer buys",
    "two_tower_plain": "fits what the customer buys",
    "category_popularity": "sells well in the categories the customer buys",
    "showroom": "sells well in the customer's showroom",
    "sales_channel": "sells well in the customer's sales channel",
    "category": "bought by customers of the same categories",
}


def reason(recent_days: int) -> Column:
    """Why, in words: the customer's own purchases of the item, else what its best source knows, else everyone's."""
    own = F.concat(F.lit("bought "), _times(F.col("times_bought")), F.lit(", last "), _days_ago(F.col("days_ago")))
    recent = F.concat(
        F.lit("popular: bought "), _times(F.col("num_recent_events")), F.lit(f" in the last {recent_days} days")
    )
    ever = F.concat(F.lit("popular: bought "), _times(F.col("num_events")), F.lit(" by all customers"))
    by_source = F.create_map(*(F.lit(text) for pair in _REASON_OF_SOURCE.items() for text in pair))[
        F.col("best_source")
    ]
    popular = F.when(F.col("num_recent_events") > 0, recent).otherwise(ever)
    return F.when(F.col("times_bought") > 0, own).otherwise(F.coalesce(by_source, popular))


def _times(count: Column) -> Column:
    return F.when(count == 1, F.lit("once")).otherwise(F.concat(F.format_number(count, 0), F.lit(" times")))


def _days_ago(days: Column) -> Column:
    return (
        F.when(days == 0, F.lit("today"))
        .when(days == 1, F.lit("1 day ago"))
        .otherwise(F.concat(F.format_number(days, 0), F.lit(" days ago")))
    )


def reason_text(
    times_bought: int, days_ago: int, best_source: str | None, num_events: int, num_recent_events: int, recent_days: int
) -> str:
    """`reason` of one item, in Python.

    >>> reason_text(2, 1, None, 9, 0, 28), reason_text(0, 0, None, 1200, 0, 28)
    ('bought 2 times, last 1 day ago', 'popular: bought 1,200 times by all customers')
    """
    if times_bought:
        ago = {0: "today", 1: "1 day ago"}.get(days_ago, f"{days_ago:,} days ago")
        return f"bought {_times_text(times_bought)}, last {ago}"
    if best_source in _REASON_OF_SOURCE:
        return _REASON_OF_SOURCE[best_source]
    if num_recent_events:
        return f"popular: bought {_times_text(num_recent_events)} in the last {recent_days} days"
    return f"popular: bought {_times_text(num_events)} by all customers"


def _times_text(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def told_sources(chosen: Chosen, scored: Scored) -> tuple[list[str | None], list[str | None]]:
    """Of each item the sources that have a rank for it, such as `own 3, item_knn 12`, best first; and the best.

    Kinds of segments are such sources too, where segment popularity ranked the item. scored: what `chosen` is of; None
    for an item that no source proposed, and of a model of one stage.
    """
    placed = source_places(chosen, scored)
    told = [", ".join(f"{name} {rank}" for name, rank in places) or None for places in placed]
    return told, [places[0][0] if places else None for places in placed]


def source_places(chosen: Chosen, scored: Scored) -> list[list[tuple[str, int]]]:
    """Of each item the sources that have a rank for it, with that rank, best first. scored: what `chosen` is of."""
    told: list[list[tuple[str, int]]] = [[] for _ in chosen.rows]
    if not scored.source_ranks or not len(scored.rows):
        return told
    names, keys = list(scored.source_ranks), pair_keys(scored.rows, scored.items)
    order = np.argsort(keys)
    places, is_there = find(keys[order], pair_keys(chosen.rows, chosen.items))
    ranks = np.stack(list(scored.source_ranks.values()), axis=1)[order[places]]
    for number in np.flatnonzero(is_there):
        own = ranks[number]
        by_rank = [place for place in np.argsort(own, kind="stable") if own[place]]
        told[number] = [(names[place], int(own[place])) for place in by_rank]
    return told
