"""Tables that baselines are made of: matrices, neighbours, weights and factors, each up to the cutoff of its fit."""

from __future__ import annotations

from recsys_spark.contracts.schemas import Column, Table

KNN_SOURCE = Table(
    grain=("user_idx", "item_idx"),
    columns=(
        Column("user_idx", "bigint", "dense user index"),
        Column("item_idx", "bigint", "dense item index"),
        Column("num_events", "bigint", "interactions up to the cutoff"),
        Column("quantity", "double", "units, summed"),
        Column("last_time", "timestamp", "UTC time of the last of them"),
    ),
)

USER_ITEM_MATRIX = Table(
    grain=("user_idx", "item_idx"),
    columns=(
        Column("user_idx", "bigint", "dense user index"),
        Column("item_idx", "bigint", "dense item index"),
        Column("weight", "double", "1.0 for a positive, 0.5 for an item of a history alone"),
    ),
)


def _neighbours(index: str, score: str) -> Table:
    return Table(
        grain=(index, "neighbour_idx"),
        columns=(
            Column(index, "bigint", "whose neighbours"),
            Column("neighbour_idx", "bigint", "the neighbour, of the same indices"),
            Column("score", "double", score),
            Column("rank", "int", "from 1, largest score first"),
        ),
    )


ITEM_NEIGHBOURS = _neighbours("item_idx", "cosine with shrinkage")
USER_NEIGHBOURS = _neighbours("user_idx", "cosine with shrinkage")
EASE_WEIGHTS = _neighbours(
    "item_idx", "what a purchase of the neighbour adds to the item; ranked by size, may be negative"
)

CATEGORY_POPULARITY = Table(
    grain=("item_idx",),
    columns=(
        Column("item_idx", "bigint", "an eligible item"),
        Column("category", "string", "its latest category up to the cutoff, empty where the source has none"),
        Column("num_recent_events", "bigint", "as in item_popularity"),
    ),
)

ITEM_CONTENT = Table(
    grain=("item_idx",),
    columns=(
        Column("item_idx", "bigint", "dense item index"),
        Column("features", "array<int>", "hashed brand, category, price band and words of its first line, 0 for none"),
    ),
)

SEGMENT_POPULARITY = Table(
    grain=("kind", "segment", "item_idx"),
    columns=(
        Column("kind", "string", "showroom, sales_channel or category"),
        Column("segment", "string", "hash of the place's name as a number, or the category"),
        Column("item_idx", "bigint", "of the baselines.segments.items_per_segment bought most"),
        Column("num_events", "double", "recent interactions, each weighed by the share of its customer in the segment"),
        Column("total", "double", "the same of all items of the segment"),
        Column("num_customers", "bigint", "in the segment"),
    ),
)

ITEM_DAYS = Table(
    grain=("item_idx", "day"),
    columns=(
        Column("item_idx", "bigint", "dense item index"),
        Column("day", "bigint", "days since 1970-01-01, UTC"),
        Column("num_events", "bigint", "interactions of that day, over all data: readers look at earlier days only"),
    ),
)

TIFU_VECTORS = Table(
    grain=("user_idx", "item_idx"),
    columns=(
        Column("user_idx", "bigint", "dense user index"),
        Column("item_idx", "bigint", "dense item index"),
        Column("weight", "double", "personalised item frequency at the cutoff"),
    ),
)

NMF_FACTORS = Table(
    grain=("item_idx",),
    columns=(
        Column("item_idx", "bigint", "dense item index"),
        Column("factors", "array<double>", "nonnegative, nmf.num_factors of them"),
    ),
)
