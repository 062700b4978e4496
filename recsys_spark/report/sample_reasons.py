"""Short reasons for the products of sample lists, which are older than what `recommend` has facts for."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

_REASON_OF_SOURCE = {
    "item_knn": "goes with what the customer buys",
    "ease": "goes with what the customer buys",
    "last_basket": "goes with the customer's last order",
    "user_knn": "bought by customers who buy alike",
    "two_tower_all": "fits what the customer buys",
    "two_tower_first": "fits what the customer buys",
    "two_tower_plain": "fits what the customer buys",
    "category_popularity": "sells well in the categories the customer buys",
}


def short_reason(recent_days: int) -> Column:
    """Why, in words: the customer's own purchases of the item, else what its best source knows, else everyone's.

    Of a frame with times_bought, days_ago, best_source, and, of the sales up to the test, num_events and
    num_recent_events.
    """
    times = F.col("times_bought")
    when = F.when(times == 1, F.lit(", ")).otherwise(F.lit(", last "))
    own = F.concat(F.lit("bought "), _times(times), when, _days_ago(F.col("days_ago")))
    before = "before the test began"
    recent = F.concat(F.lit("sold "), _times(F.col("num_recent_events")), F.lit(f" in the {recent_days} days {before}"))
    ever = F.concat(F.lit("sold "), _times(F.col("num_events")), F.lit(f" {before}"))
    texts = (F.lit(text) for pair in _REASON_OF_SOURCE.items() for text in pair)
    by_source = F.create_map(*texts)[F.col("best_source")]
    popular = F.when(F.col("num_recent_events") > 0, recent).otherwise(ever)
    return F.when(times > 0, own).otherwise(F.coalesce(by_source, popular))


def _times(count: Column) -> Column:
    return (
        F.when(count == 1, F.lit("once"))
        .when(count == 2, F.lit("twice"))
        .otherwise(F.concat(F.format_number(count, 0), F.lit(" times")))
    )


def _days_ago(days: Column) -> Column:
    return (
        F.when(days == 0, F.lit("less than a day ago"))
        .when(days == 1, F.lit("1 day ago"))
        .otherwise(F.concat(F.format_number(days, 0), F.lit(" days ago")))
    )
