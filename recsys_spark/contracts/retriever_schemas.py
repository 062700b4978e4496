"""Tables that the retriever is trained from and that its job leaves, each under `fit=<name>`."""

from __future__ import annotations

from recsys_spark.contracts.retriever_config import SIDE_FEATURES
from recsys_spark.contracts.schemas import Column, Table

TOWER_EXAMPLES = Table(
    grain=("user_idx", "event_time"),  # and, where examples come from sequences, the target
    columns=(
        Column("user_idx", "bigint", "dense user index"),
        Column("event_time", "timestamp", "UTC time of the targets"),
        Column("history", "array<int>", "item_idx, oldest first, left-padded with 0 to the hist_max of the source"),
        Column("history_days", "array<float>", "days before event_time, same padding"),
        Column("positives", "array<int>", "item_idx of the targets, right-padded with 0"),
        Column("is_repeat", "array<boolean>", "the customer bought the target strictly earlier, same padding"),
        Column("period", "int", "the snapshot of item_sales that the query may know"),
        Column("context", "array<int>", "of contracts/context.py, in its order; 0 for none, or where no tower asks"),
    ),
)

TOWER_ITEMS = Table(
    grain=("item_idx",),
    columns=(
        Column("item_idx", "bigint", "an item with an event up to the cutoff"),
        Column("num_events", "bigint", "interactions up to the cutoff"),
        Column("num_targets", "bigint", "times it is a target of the training examples"),
        Column("num_new_targets", "bigint", "of these the times that the customer never bought it before"),
        *(
            Column(f"side_{feature}", "array<int>", "hashed, from 1, right-padded with 0; all 0 where no tower asks")
            for feature in SIDE_FEATURES
        ),
    ),
)

ITEM_SALES = Table(
    grain=("period", "item_idx"),
    columns=(
        Column("period", "int", "number of a snapshot, from 0; the last is taken at the cutoff"),
        Column("item_idx", "bigint", "an item with an event in the window or in the one before"),
        Column("num_events", "bigint", "interactions in the retriever.recent_days up to the snapshot"),
        Column("num_before", "bigint", "interactions in as many days before these"),
    ),
)

CO_PURCHASES = Table(
    grain=("item_idx", "neighbour_idx"),
    columns=(
        Column("item_idx", "bigint", "an item"),
        Column("neighbour_idx", "bigint", "an item bought in the same baskets"),
        Column("ppmi", "double", "positive pointwise mutual information of the two over baskets, natural logarithm"),
    ),
)

USER_HISTORIES = Table(
    grain=("user_idx",),
    columns=(
        Column("user_idx", "bigint", "a customer with an event up to the cutoff"),
        Column(
            "history", "array<int>", "item_idx, oldest first, left-padded with 0 to the largest hist_max of a tower"
        ),
        Column("history_days", "array<float>", "days before the cutoff, same padding"),
        Column("context", "array<int>", "as of the cutoff, as in tower_examples"),
    ),
)
