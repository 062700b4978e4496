"""Every feature of the ranker as data: what it is called, means and may know, and how it enters a model.

The job `features` computes this table, the ranker is trained on it, documents and reports are made from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.context import RECENCY_DAYS, RECENCY_NAMES

BEFORE_QUERY = "events before the query"
BEFORE_DAY = "events before the day of the query"
UP_TO_CUTOFF = "events up to the cutoff of the fit"
FIT_AND_QUERY = f"{UP_TO_CUTOFF}, and the customer's before the query"
_SOURCE_CLOCKS = {  # of those that are not FIT_AND_QUERY: sources rank apart what the customer bought before
    "own": BEFORE_QUERY,
    "due": BEFORE_QUERY,
    "rolling_popularity": f"{BEFORE_DAY}, and the customer's before the query",
}
LONG_AGO = 1000.0  # days, orders or a rank: the value of what never happened, and the largest of what did


@dataclass(frozen=True)
class Feature:
    """One feature. clock: what it may know. missing: its value where it does not apply; where that is LONG_AGO, no
    value lies above it: what never happened is the longest ago.

    kind: how a model takes it in: `log` (sign * log1p of the size) or `standard`; both are standardised afterwards.
    """

    name: str
    group: str
    unit: str
    clock: str
    meaning: str
    missing: float = 0.0
    kind: str = "standard"

    @property
    def largest(self) -> float:
        """The largest value that the feature takes."""
        return LONG_AGO if self.missing == LONG_AGO else inf


def _standard(name: str, unit: str, clock: str, meaning: str, missing: float = 0.0) -> Feature:
    return Feature(name, "", unit, clock, meaning, missing)


def _log(name: str, unit: str, clock: str, meaning: str, missing: float = 0.0) -> Feature:
    return Feature(name, "", unit, clock, meaning, missing, kind="log")


def _group(name: str, *features: Feature) -> tuple[Feature, ...]:
    return tuple(replace(feature, group=name) for feature in features)


def _clock_of(source: str) -> str:
    return _SOURCE_CLOCKS.get(source, FIT_AND_QUERY)


_BASE = _group(
    "base",
    _standard("dot_uv", "cosine", FIT_AND_QUERY, "cosine of the item and the mean of the history's vectors"),
    _standard("max_sim_recent", "cosine", FIT_AND_QUERY, "largest cosine to the last features.recent_items items"),
    _standard("pop", "share", UP_TO_CUTOFF, "log1p of the item's events over that of the most bought item"),
    _standard("hist_len", "share", BEFORE_QUERY, "items in the history over queries.hist_max"),
    _standard("price_z", "deviations", UP_TO_CUTOFF, "standardised log of the item's median price"),
)
_REPEAT = _group(
    "repeat",
    _log("times_bought", "orders", BEFORE_QUERY, "times the customer bought the item"),
    _standard("rate_per_order", "share", BEFORE_QUERY, "share of the customer's orders that hold the item"),
    _standard("rate_since_first", "share", BEFORE_QUERY, "the same share of the orders since the first with the item"),
    _log("days_since_last", "days", BEFORE_QUERY, "days since the customer last bought the item", LONG_AGO),
    _log("days_since_first", "days", BEFORE_QUERY, "days since the customer first bought the item", LONG_AGO),
    _log("orders_since_last", "orders", BEFORE_QUERY, "orders of the customer since the last with the item", LONG_AGO),
    _log("mean_gap", "days", BEFORE_QUERY, "mean days between the customer's purchases of the item", LONG_AGO),
    _log(
        "overdue",
        "gaps",
        BEFORE_QUERY,
        "days since the customer last bought the item over mean_gap, a day added to each",
    ),
    _log("quantity_last", "units", BEFORE_QUERY, "quantity when the customer last bought the item"),
)
_RECENT = _group(
    "recent",
    _log("times_28", "orders", BEFORE_QUERY, "times the customer bought the item in the last 28 days"),
    _log("times_90", "orders", BEFORE_QUERY, "times the customer bought the item in the last 90 days"),
    _log("times_5_orders", "orders", BEFORE_QUERY, "times the customer bought the item in the last 5 orders"),
    _log("times_20_orders", "orders", BEFORE_QUERY, "times the customer bought the item in the last 20 orders"),
)
_CYCLE = _group(
    "cycle",
    _log("item_gap", "days", UP_TO_CUTOFF, "days between a customer's purchases of the item, geometric mean", LONG_AGO),
    _standard(
        "item_overdue",
        "log ratio",
        FIT_AND_QUERY,
        "log(1 + days since the last purchase of the item) less the mean log(1 + gap)",
    ),
)
_SIMILARITY = _group(
    "similarity",
    _standard("sim_mean", "cosine", FIT_AND_QUERY, "mean cosine to the items of the history"),
    _standard("sim_max", "cosine", FIT_AND_QUERY, "largest cosine to the last features.similar_items items"),
    _standard("sim_last_basket", "cosine", FIT_AND_QUERY, "mean cosine to the items of the last order"),
)
_ITEM = _group(
    "item",
    _log("sales_7", "events", BEFORE_DAY, "sales of the item in the 7 days before the query's day"),
    _log("sales_28", "events", BEFORE_DAY, "sales of the item in the 28 days before the query's day"),
    _log("sales_90", "events", BEFORE_DAY, "sales of the item in the 90 days before the query's day"),
    _standard("trend", "log ratio", BEFORE_DAY, "daily sales of the item in 28 days over those in 90, plus one each"),
    _standard("repeat_rate", "share", UP_TO_CUTOFF, "share of the item's events whose customer had bought it before"),
    _log("item_age", "days", BEFORE_DAY, "days since the item's first event"),
    _log("num_customers", "customers", UP_TO_CUTOFF, "customers that bought the item"),
)
_PRICE = _group(
    "price",
    _standard(
        "price_gap", "log ratio", FIT_AND_QUERY, "price of the item over the geometric mean of what the customer bought"
    ),
)
_AFFINITY = _group(
    "affinity",
    _standard("brand_share", "share", FIT_AND_QUERY, "share of the history that is of the item's brand"),
    _standard("category_share", "share", FIT_AND_QUERY, "share of the history that is of the item's category"),
)
_CATEGORY = _group(
    "category",
    _log(
        "days_since_category", "days", FIT_AND_QUERY, "days since the last purchase from the item's category", LONG_AGO
    ),
    _log("orders_since_category", "orders", FIT_AND_QUERY, "orders since the last with the item's category", LONG_AGO),
    _log("category_times", "events", FIT_AND_QUERY, "purchases of the customer from the item's category"),
    _log("category_times_28", "events", FIT_AND_QUERY, "those purchases in the last 28 days"),
    _log("category_items", "items", FIT_AND_QUERY, "distinct items of the category that the customer bought"),
)
_PLACE = _group(
    "place",
    _standard("showroom_share", "share", UP_TO_CUTOFF, "share of the item's events in the customer's usual showroom"),
    _log("showroom_sales", "events", UP_TO_CUTOFF, "events of the item in the customer's usual showroom"),
    _standard("channel_share", "share", UP_TO_CUTOFF, "share of the item's events in the customer's usual channel"),
    _log("channel_sales", "events", UP_TO_CUTOFF, "events of the item in the customer's usual channel"),
)
_CUSTOMER = _group(
    "customer",
    _log("num_orders", "orders", BEFORE_QUERY, "orders of the customer"),
    _log("num_items", "items", BEFORE_QUERY, "distinct items that the customer bought"),
    _log("basket_size", "items", BEFORE_QUERY, "mean items of the customer's orders"),
    _log("days_since_order", "days", BEFORE_QUERY, "days since the customer's last order"),
    _log("order_gap", "days", BEFORE_QUERY, "mean days between the customer's orders", LONG_AGO),
    _standard("share_new", "share", BEFORE_QUERY, "share of the customer's last 50 events that were first purchases"),
)
_CONTEXT = _group(
    "context",
    _standard("month_sin", "sine", BEFORE_QUERY, "sine of the day in the year"),
    _standard("month_cos", "cosine", BEFORE_QUERY, "cosine of the day in the year"),
    _standard("weekday_sin", "sine", BEFORE_QUERY, "sine of the day in the week"),
    _standard("weekday_cos", "cosine", BEFORE_QUERY, "cosine of the day in the week"),
)
_CALENDAR = _group(
    "calendar",
    _standard("quarter_sin", "sine", BEFORE_QUERY, "sine of the quarter in the year"),
    _standard("quarter_cos", "cosine", BEFORE_QUERY, "cosine of the quarter in the year"),
    _standard("quarter_day_sin", "sine", BEFORE_QUERY, "sine of the day in the quarter"),
    _standard("quarter_day_cos", "cosine", BEFORE_QUERY, "cosine of the day in the quarter"),
)
_BUCKETS = (
    f"at most {RECENCY_DAYS[0]} day",
    *(f"more than {first} and at most {last} days" for first, last in pairwise(RECENCY_DAYS)),
    f"more than {RECENCY_DAYS[-1]} days",
)
_RECENCY = _group(
    "recency",
    *(
        _standard(name, "flag", BEFORE_QUERY, f"whether the last order lies {bucket} back")
        for name, bucket in zip(RECENCY_NAMES, _BUCKETS, strict=True)
    ),
)
_SOURCES = _group(
    "sources",
    *(
        _log(f"rank_{each}", "rank", _clock_of(each), f"rank of the item in source {each}", LONG_AGO)
        for each in SOURCES
    ),
    *(_standard(f"score_{each}", "score", _clock_of(each), f"score of the item in source {each}") for each in SOURCES),
    _standard("num_sources", "sources", "what the sources know", "sources that rank the item"),
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
