"""How long evaluation takes: 100,000 queries of ready rankings, and ten times as many with the same heap.

A planted world: customers with four queries each, baskets of about eight items drawn by popularity, three models whose
lists are random permutations with a share of the basket moved to the front. Making the world is not timed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.harness import figure, report
from recsys_spark.contracts.config import EvaluationConfig, SessionConfig
from recsys_spark.evaluation.document import evaluation_document
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.evaluation.summary import SplitFrames, SplitSummary, summarise
from recsys_spark.session import get_session

CUTOFF = "2011-06-01T00:00:00"
QUERIES_PER_CUSTOMER, BASKET, NUM_ITEMS = 4, 8, 4_000
MODELS = {"weak": 0.1, "middle": 0.2, "strong": 0.3}  # share of the positives that a model puts into its lists
HEAP = "4g"


class World(NamedTuple):
    """The tables that `summarise` reads, on disk."""

    frames: SplitFrames
    num_queries: int


def build_world(spark: SparkSession, folder: Path, num_queries: int) -> World:
    """Write a world of that many queries below the folder."""

    def kept(name: str, frame: DataFrame) -> DataFrame:
        frame.write.mode("overwrite").parquet(str(folder / name))
        return spark.read.parquet(str(folder / name))

    items = kept("items", _items(spark))
    item_ids = items.select("item_idx", "stock_code")
    queries = kept("queries", _queries(spark, num_queries))
    sequences = kept("sequences", _sequences(queries))
    rankings, ranks = {}, {}
    for model, share in MODELS.items():
        rankings[model] = kept(f"rankings_{model}", _rankings(sequences, model, share))
        ranks[model] = kept(f"ranks_{model}", positive_ranks(rankings[model], sequences, item_ids))
    customers = queries.select("user_idx", F.concat(F.lit("C"), "user_idx").alias("customer_id")).distinct()
    frames = SplitFrames(
        split="test",
        cutoff=CUTOFF,
        until=None,
        sequences=sequences,
        interactions=kept("interactions", _interactions(sequences)),
        customer_id_map=kept("customers", customers),
        item_id_map=item_ids,
        items=items,
        popularity=items.select("item_idx", F.col("item_idx").alias("num_events")),
        rankings=rankings,
        ranks=ranks,
    )
    return World(frames, num_queries)


def evaluate(world: World, folder: Path) -> SplitSummary:
    """What the stage `evaluate` does for one split, the document included."""

    def kept(name: str, frame: DataFrame) -> DataFrame:
        frame.write.mode("overwrite").parquet(str(folder / name))
        return frame.sparkSession.read.parquet(str(folder / name))

    config = EvaluationConfig()
    summary = summarise(world.frames, kept, config, seed=1)
    evaluation_document({"val": summary, "test": summary}, list(MODELS), config.replicates)
    return summary


def _items(spark: SparkSession) -> DataFrame:
    code, category = F.format_string("P%05d", "id"), F.format_string("CATEGORY %02d", F.col("id") % 30)
    return spark.range(1, NUM_ITEMS + 1).select(
        F.col("id").alias("item_idx"), code.alias("stock_code"), category.alias("category")
    )


def _queries(spark: SparkSession, num_queries: int) -> DataFrame:
    user = (F.col("id") / QUERIES_PER_CUSTOMER).cast("bigint") + 1
    order = F.col("id") % QUERIES_PER_CUSTOMER
    time_ = F.timestamp_seconds(F.lit(1_310_000_000) + order * 86_400)
    return spark.range(num_queries).select(
        (user * 1_000_000 + order).alias("query_id"), user.alias("user_idx"), time_.alias("event_time")
    )


def _draw(*key: object) -> Column:
    """A number in [0, 1) that follows from the key."""
    columns = [key_ if isinstance(key_, Column) else F.lit(key_) for key_ in key]
    return F.pmod(F.xxhash64(*columns), F.lit(1 << 20)) / (1 << 20)


def _sequences(queries: DataFrame) -> DataFrame:
    place = F.explode(F.sequence(F.lit(1), F.lit(BASKET))).alias("place")
    item = (_draw(F.col("query_id"), F.col("place"), "item") ** 2 * NUM_ITEMS).cast("bigint") + 1
    lines = queries.select("*", place).withColumn("pos_item_idx", item).drop("place")
    return lines.dropDuplicates(["query_id", "pos_item_idx"]).select(
        "query_id",
        "user_idx",
        "pos_item_idx",
        "event_time",
        (F.round(_draw(F.col("query_id"), F.col("pos_item_idx"), "amount") * 50, 2) + 1).alias("line_amount"),
        (_draw(F.col("query_id"), F.col("pos_item_idx"), "repeat") < 0.4).alias("is_repeat"),
    )


def _interactions(sequences: DataFrame) -> DataFrame:
    early = F.lit(CUTOFF).cast("timestamp") - F.expr("interval 30 days")
    return sequences.select(
        F.concat(F.lit("C"), "user_idx").alias("customer_id"),
        F.format_string("P%05d", "pos_item_idx").alias("stock_code"),
        F.when(F.col("query_id") % 2 == 0, early).otherwise(F.col("event_time")).alias("invoice_date"),
    )


def _rankings(sequences: DataFrame, model: str, share: float) -> DataFrame:
    """Some positives, then 100 consecutive codes from a random one on, under both list protocols."""
    is_found = _draw(F.col("query_id"), F.col("pos_item_idx"), model) < share
    found = F.collect_list(F.when(is_found, F.format_string("P%05d", "pos_item_idx"))).alias("found")
    start = (_draw(F.col("query_id"), model, "start") * (NUM_ITEMS - 100)).cast("int") + 1
    codes = F.transform(F.sequence(start, start + 99), lambda idx: F.format_string("P%05d", idx))
    others = F.slice(codes, 1, 10)
    listed = F.slice(F.array_distinct(F.concat(others, "found", codes)), 1, 100).alias("stock_codes")
    protocol = F.explode(F.array(F.lit("all_items"), F.lit("first_purchase"))).alias("protocol")
    return sequences.groupBy("query_id", "event_time").agg(found).select("query_id", "event_time", protocol, listed)


def main() -> None:
    """Time both sizes and report the two figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--growth", type=int, default=10, help="how many times as many queries the second world has")
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    spark = get_session(
        SessionConfig(
            app_name="benchmark",
            conf={
                "spark.master": "local[2]",
                "spark.driver.memory": HEAP,
                "spark.sql.shuffle.partitions": "16",
                "spark.ui.enabled": "false",
                "spark.ui.showConsoleProgress": "false",
            },
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sizes = (given.queries, given.queries * given.growth)
        worlds = [build_world(spark, root / str(size), size) for size in sizes]
        seconds: list[list[float]] = [[], []]
        evaluate(worlds[0], root / "scratch")  # warms the JVM up
        for _ in range(given.repetitions):
            for world, taken in zip(worlds, seconds, strict=True):
                started = time.perf_counter()
                evaluate(world, root / "scratch")
                taken.append(time.perf_counter() - started)
    small, large = (sorted(taken)[len(taken) // 2] for taken in seconds)
    facts = {"queries": sizes[0], "models": len(MODELS), "replicates": EvaluationConfig().replicates, "heap": HEAP}
    growth = sorted(big / little for little, big in zip(*seconds, strict=True))[given.repetitions // 2]
    report(
        "evaluate",
        [
            figure("evaluate.seconds", small, "<= 60", seconds=[round(s, 1) for s in seconds[0]], **facts),
            figure("evaluate.growth", growth, f"<= {1.1 * given.growth:g}", seconds=round(large, 1), **facts),
        ],
    )


if __name__ == "__main__":
    main()
