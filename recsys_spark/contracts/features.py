"""Every feature of the ranker as data: what it is called, means and may know, and how it enters a model.

The job `features` computes this table, the ranker is trained on it, documents and reports are made from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.context import RECENCY_DAYS, RECENCY_NAMES

BEFORE_QUERY = "events before the query"
BEFORE_DAY = "events before the day of the query"
UP_TO_CUTOFF = "events up to the cutoff of the fit"
OF_FIT_AND_CUSTOMER = f"{UP_TO_CUTOFF}, and the customer's before the query"
_SOURCE_CLOCKS = {  # of those that are not OF_FIT_AND_CUSTOMER: sources rank apart what the customer bought before
    "own": BEFORE_QUERY,
    "due": BEFORE_QUERY,
    "rolling_popularity": f"{BEFORE_DAY}, and the customer's before the query",
}


@dataclass(frozen=True)
class Feature:
    """One feature. clock: what it may know. missing: its value where it does not apply.

    kind: how a model takes it in: `log` (sign * log1p of the size) or `standard`; both are standardised afterwards.
    """

    name: str
    group: str
    unit: str
    clock: str
    meaning: str
    missing: float = 0.0
    kind: str = "standard"


def _log(name: str, group: str, unit: str, clock: str, meaning: str, missing: float = 0.0) -> Feature:
    return Feature(name, group, unit, clock, meaning, missing, kind="log")


def _clock_of(source: str) -> str:
    return _SOURCE_CLOCKS.get(source, OF_FIT_AND_CUSTOMER)


_BASE = (
    Feature("dot_uv", "base", "cosine", OF_FIT_AND_CUSTOMER, "unit mean of the history's item vectors . item vector"),
    Feature("max_sim_recent", "base", "cosine", OF_FIT_AND_CUSTOMER, "largest to the last features.recent_items items"),
    Feature("pop", "base", "share", UP_TO_CUTOFF, "log1p of the item's events over the largest such"),
    Feature("hist_len", "base", "share", BEFORE_QUERY, "items in the history over queries.hist_max"),
    Feature("price_z", "base", "deviations", UP_TO_CUTOFF, "standardised log of the item's median price"),
)
_REPEAT = (
    _log("times_bought", "repeat", "orders", BEFORE_QUERY, "times the customer bought the item"),
    Feature("rate_per_order", "repeat", "share", BEFORE_QUERY, "share of the customer's orders that hold the item"),
    Feature("rate_since_first", "repeat", "share", BEFORE_QUERY, "the same of the orders since it was first bought"),
    _log("days_since_last", "repeat", "days", BEFORE_QUERY, "since the customer bought the item", missing=1000.0),
    _log("days_since_first", "repeat", "days", BEFORE_QUERY, "since he first bought it", missing=1000.0),
    _log("orders_since_last", "repeat", "orders", BEFORE_QUERY, "of the customer since the item's", missing=1000.0),
    _log("mean_gap", "repeat", "days", BEFORE_QUERY, "between his purchases of it, from two on", missing=1000.0),
    _log("overdue", "repeat", "gaps", BEFORE_QUERY, "days since the last one over the mean gap"),
    _log("quantity_last", "repeat", "units", BEFORE_QUERY, "quantity of the last one"),
)
_RECENT = (
    _log("times_28", "recent", "orders", BEFORE_QUERY, "times the customer bought the item in the last 28 days"),
    _log("times_90", "recent", "orders", BEFORE_QUERY, "in the last 90 days"),
    _log("times_5_orders", "recent", "orders", BEFORE_QUERY, "in his last 5 orders"),
    _log("times_20_orders", "recent", "orders", BEFORE_QUERY, "in his last 20 orders"),
)
_CYCLE = (
    _log(
        "item_gap",
        "cycle",
        "days",
        UP_TO_CUTOFF,
        "geometric mean over customers of those between their purchases of the item",
        missing=1000.0,
    ),
    Feature("item_overdue", "cycle", "log ratio", OF_FIT_AND_CUSTOMER, "days since the customer's last over item_gap"),
)
_SIMILARITY = (
    Feature("sim_mean", "similarity", "cosine", OF_FIT_AND_CUSTOMER, "mean over the history"),
    Feature(
        "sim_max", "similarity", "cosine", OF_FIT_AND_CUSTOMER, "largest over the last features.similar_items items"
    ),
    Feature("sim_last_basket", "similarity", "cosine", OF_FIT_AND_CUSTOMER, "mean over the last order"),
)
_ITEM = (
    _log("sales_7", "item", "events", BEFORE_DAY, "of the item in the 7 days before the day"),
    _log("sales_28", "item", "events", BEFORE_DAY, "in the 28 days before"),
    _log("sales_90", "item", "events", BEFORE_DAY, "in the 90 days before"),
    Feature(
        "trend", "item", "log ratio", BEFORE_DAY, "daily sales of 28 days over those of 90, one event added to each"
    ),
    Feature("repeat_rate", "item", "share", UP_TO_CUTOFF, "of its events that a customer bought it before"),
    _log("item_age", "item", "days", BEFORE_DAY, "since its first event"),
    _log("num_customers", "item", "customers", UP_TO_CUTOFF, "that bought it"),
)
_PRICE = (
    Feature(
        "price_gap",
        "price",
        "log ratio",
        OF_FIT_AND_CUSTOMER,
        "item's median price up to the cutoff over the geometric mean of those of what he bought",
    ),
)
_AFFINITY = (
    Feature("brand_share", "affinity", "share", OF_FIT_AND_CUSTOMER, "of the history that is of the item's brand"),
    Feature("category_share", "affinity", "share", OF_FIT_AND_CUSTOMER, "of the history that is of its category"),
)
_CATEGORY = (
    _log("days_since_category", "category", "days", OF_FIT_AND_CUSTOMER, "since he bought of the category", 1000.0),
    _log(
        "orders_since_category", "category", "orders", OF_FIT_AND_CUSTOMER, "since the last with the category", 1000.0
    ),
    _log("category_times", "category", "events", OF_FIT_AND_CUSTOMER, "times he bought of the category"),
    _log("category_times_28", "category", "events", OF_FIT_AND_CUSTOMER, "in the last 28 days"),
    _log("category_items", "category", "items", OF_FIT_AND_CUSTOMER, "distinct, that he bought of the category"),
)
_PLACE = (
    Feature("showroom_share", "place", "share", UP_TO_CUTOFF, "of the item's events in the customer's usual showroom"),
    _log("showroom_sales", "place", "events", UP_TO_CUTOFF, "of the item in the customer's usual showroom"),
    Feature("channel_share", "place", "share", UP_TO_CUTOFF, "of the item's events in his usual sales channel"),
    _log("channel_sales", "place", "events", UP_TO_CUTOFF, "of the item in his usual sales channel"),
)
_CUSTOMER = (
    _log("num_orders", "customer", "orders", BEFORE_QUERY, "of the customer"),
    _log("num_items", "customer", "items", BEFORE_QUERY, "distinct, that he bought"),
    _log("basket_size", "customer", "items", BEFORE_QUERY, "mean of his orders"),
    _log("days_since_order", "customer", "days", BEFORE_QUERY, "since his last order"),
    _log("order_gap", "customer", "days", BEFORE_QUERY, "mean between his orders", missing=1000.0),
    Feature("share_new", "customer", "share", BEFORE_QUERY, "of his last 50 events that were first purchases"),
)
_CONTEXT = (
    Feature("month_sin", "context", "sine", BEFORE_QUERY, "of the day in the year"),
    Feature("month_cos", "context", "cosine", BEFORE_QUERY, "of the day in the year"),
    Feature("weekday_sin", "context", "sine", BEFORE_QUERY, "of the day in the week"),
    Feature("weekday_cos", "context", "cosine", BEFORE_QUERY, "of the day in the week"),
)
_CALENDAR = (
    Feature("quarter_sin", "calendar", "sine", BEFORE_QUERY, "of the quarter in the year"),
    Feature("quarter_cos", "calendar", "cosine", BEFORE_QUERY, "of the quarter in the year"),
    Feature("quarter_day_sin", "calendar", "sine", BEFORE_QUERY, "of the day in the quarter"),
    Feature("quarter_day_cos", "calendar", "cosine", BEFORE_QUERY, "of the day in the quarter"),
)
_RECENCY = tuple(
    Feature(name, "recency", "flag", BEFORE_QUERY, meaning)
    for name, meaning in zip(
        RECENCY_NAMES,
        (
            f"the last order lies at most {RECENCY_DAYS[0]} day back",
            *(f"at most {last} and more than {first} days" for first, last in pairwise(RECENCY_DAYS)),
            f"more than {RECENCY_DAYS[-1]} days",
        ),
        strict=True,
    )
)
_SOURCES = (
    *(_log(f"rank_{each}", "sources", "rank", _clock_of(each), f"in {each}", missing=1000.0) for each in SOURCES),
    *(Feature(f"score_{each}", "sources", "score", _clock_of(each), f"by {each}") for each in SOURCES),
    Feature("num_sources", "sources", "sources", "what the sources know", "that have a rank for the item"),
)

EXTENSION = (*_CALENDAR, *_RECENCY)  # what `extended` has beyond `full`
FEATURES = (
    *_BASE,
    *_REPEAT,
    *_RECENT,
    *_CYCLE,
    *_SIMILARITY,
    *_ITEM,
    *_PRICE,
    *_AFFINITY,
    *_CATEGORY,
    *_PLACE,
    *_CUSTOMER,
    *_CONTEXT,
    *EXTENSION,
    *_SOURCES,
)


def chosen_features(which: str, sources: Collection[str] = SOURCES) -> tuple[Feature, ...]:
    """The features of a set (features.set), without the ranks and scores of sources that are switched off."""
    if which == "base":
        return _BASE
    off = {f"{told}_{source}" for source in SOURCES if source not in sources for told in ("rank", "score")}
    if which == "full":
        off |= {feature.name for feature in EXTENSION}
    return tuple(feature for feature in FEATURES if feature.name not in off)


def features_table(features: Sequence[Feature]) -> str:
    """The features as a table in Markdown.

    >>> print(features_table(FEATURES[3:4]))
    | feature | group | unit | knows | is | where missing |
    |---|---|---|---|---|---|
    | hist_len | base | share | events before the query | items in the history over queries.hist_max | 0 |
    """
    lines = ["| feature | group | unit | knows | is | where missing |", "|---|---|---|---|---|---|"]
    for each in features:
        cells = (each.name, each.group, each.unit, each.clock, each.meaning, f"{each.missing:g}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
