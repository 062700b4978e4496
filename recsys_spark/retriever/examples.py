"""What the towers learn from: the examples of a fit with their histories, and customers as of the cutoff."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.columns import PAD_IDX
from recsys_spark.contracts.retriever_schemas import TOWER_EXAMPLES, USER_HISTORIES
from recsys_spark.retriever.context import with_context
from recsys_spark.retriever.periods import Grid
from recsys_spark.sequences.windows import MICROS_PER_DAY


def item_examples(sequences: DataFrame, grid: Grid, contexts: DataFrame | None = None) -> DataFrame:
    """TOWER_EXAMPLES of a split of SEQUENCES: one next item each. contexts: see `basket_examples`."""
    one = sequences.withColumn("positives", F.array("pos_item_idx")).withColumn("is_repeat", F.array("is_repeat"))
    return _examples(one, grid, contexts)


def basket_examples(
    queries: DataFrame, sequences: DataFrame, grid: Grid, contexts: DataFrame | None = None
) -> DataFrame:
    """TOWER_EXAMPLES of a split of QUERIES: whole baskets.

    sequences: of the same split, which tell repeats: a history lacks what was bought before its oldest event. contexts:
    of `query_contexts`, None where no tower asks for them.
    """
    repeats = sequences.filter("is_repeat").groupBy("query_id").agg(F.collect_set("pos_item_idx").alias("_repeats"))
    told = queries.join(repeats, on="query_id", how="left")
    is_repeat = F.transform("positives", lambda item: F.coalesce(F.array_contains("_repeats", item), F.lit(False)))
    return _examples(told.withColumn("is_repeat", is_repeat), grid, contexts)


def _examples(split: DataFrame, grid: Grid, contexts: DataFrame | None) -> DataFrame:
    every = with_context(split, contexts, "query_id")
    return every.select(
        "user_idx",
        "event_time",
        F.col("history").cast("array<int>").alias("history"),
        "history_days",
        F.col("positives").cast("array<int>").alias("positives"),
        "is_repeat",
        grid.period_of(F.col("event_time")).alias("period"),
        "context",
    ).select(*TOWER_EXAMPLES.names)


def in_random_order(examples: DataFrame, seed: int, num_files: int) -> DataFrame:
    """The rows spread over files and ordered within each by hashes, so that any row group is a sample of all.

    Which rows a file holds, and their order, does not depend on how the frame was partitioned.
    """
    keyed = examples.withColumn("_key", F.xxhash64("user_idx", "event_time", "positives", F.lit(seed)))
    spread = keyed.repartition(num_files, "_key").sortWithinPartitions(F.xxhash64("_key"), "user_idx", "event_time")
    return spread.drop("_key")


def user_histories(
    histories: DataFrame, cutoff_micros: int, length: int, contexts: DataFrame | None = None
) -> DataFrame:
    """USER_HISTORIES: the newest `length` events of each customer up to the cutoff, and their age then.

    histories: of `customer_histories`, over all time. contexts: of `contexts_at`, None where no tower asks for them.
    """
    num_known = F.size(F.filter("micros", lambda micros: micros <= cutoff_micros))
    known = histories.withColumn("num_known", num_known).filter("num_known > 0")
    first = F.greatest(F.col("num_known") - length + 1, F.lit(1))
    num_kept = F.least(F.col("num_known"), F.lit(length))
    kept = known.select(
        "user_idx",
        F.slice("items", first, num_kept).cast("array<int>").alias("items"),
        F.transform(
            F.slice("micros", first, num_kept),
            lambda micros: ((F.lit(cutoff_micros) - micros) / MICROS_PER_DAY).cast("float"),
        ).alias("days"),
    )
    padding = F.array_repeat(F.lit(PAD_IDX), F.lit(length) - F.size("items"))
    no_days = F.array_repeat(F.lit(0.0).cast("float"), F.lit(length) - F.size("items"))
    return (
        with_context(kept, contexts, "user_idx")
        .select(
            "user_idx",
            F.concat(padding, F.col("items")).alias("history"),
            F.concat(no_days, F.col("days")).alias("history_days"),
            "context",
        )
        .select(*USER_HISTORIES.names)
    )
