"""Tables of the second stage: candidates by query, what is known of items, and the rows that the ranker sees."""

from __future__ import annotations

from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.features import FEATURES
from recsys_spark.contracts.schemas import Column, Table

_ASKED = (
    Column("query_id", "bigint", "the query"),
    Column("user_idx", "bigint", "dense user index"),
    Column("customer_id", "string", "customer as the source shows it"),
    Column("event_time", "timestamp", "UTC time of the query"),
    Column("history", "array<int>", "item_idx before the query, oldest first, left-padded with 0", "queries.hist_max"),
    Column("positives", "array<int>", "item_idx of the whole basket, ascending"),
)
_PROPOSED = (
    Column(
        "items", "array<int>", "item_idx, best first by reciprocal rank fusion, repeats among others by repeat_share"
    ),
    *(
        Column(f"rank_{source}", "array<int>", f"of each item in {source}, from 1; 0 where it has none")
        for source in SOURCES
    ),
    *(
        Column(f"score_{source}", "array<float>", f"of each item by {source}; 0 where it has none")
        for source in SOURCES
    ),
)

CANDIDATES = Table(grain=("query_id",), columns=(*_ASKED, *_PROPOSED))
CANDIDATES_FORCED = CANDIDATES  # the items are the positives that the candidates lack

ITEM_FACTS = Table(
    grain=("item_idx",),
    columns=(
        Column("item_idx", "bigint", "an item with an event up to the cutoff"),
        Column("num_events", "bigint", "interactions up to the cutoff"),
        Column("num_customers", "bigint", "distinct customers up to the cutoff"),
        Column("first_day", "bigint", "of its first event, days since 1970-01-01, UTC"),
        Column("log_gap", "double", "mean log1p of days between two purchases of one customer, null without such"),
        Column("price", "double", "median price up to the cutoff, source currency per unit"),
        Column("brand", "bigint", "hash of its latest brand up to the cutoff, 0 where the source has none"),
        Column("category", "bigint", "hash of its latest category up to the cutoff, 0 where the source has none"),
    ),
)

ITEM_PLACES = Table(
    grain=("kind", "place", "item_idx"),
    columns=(
        Column("kind", "string", "showroom or sales_channel"),
        Column("place", "bigint", "hash of its name"),
        Column("item_idx", "bigint", "an item with an event there up to the cutoff"),
        Column("num_events", "bigint", "of the item there up to the cutoff"),
    ),
)
CUSTOMER_PLACES = Table(
    grain=("kind", "user_idx"),
    columns=(
        Column("kind", "string", "showroom or sales_channel"),
        Column("user_idx", "bigint", "dense user index"),
        Column("place", "bigint", "hash of the name of where the customer bought most up to the cutoff"),
    ),
)

RANKER_FEATS = Table(
    grain=("query_id", "item_idx"),
    columns=(
        Column("query_id", "bigint", "the query; its rows lie together, in one row group"),
        Column("user_idx", "bigint", "dense user index"),
        Column("item_idx", "bigint", "the candidate"),
        Column("label", "float", "1 for a positive, else 0"),
        Column("is_repeat", "boolean", "the customer bought the item before the query"),
        *(Column(feature.name, "float", feature.meaning) for feature in FEATURES),
    ),
)
