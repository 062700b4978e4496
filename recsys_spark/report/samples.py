"""A few customers of the test, picked by hash: what they had bought, what was listed for them, what they bought."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.contracts.candidate_config import is_proposed
from recsys_spark.evaluation.protocols import ALL_ITEMS
from recsys_spark.report.sample_reasons import short_reason

NUM_SAMPLES = 20
SHOWN = 10  # rows of each list on the page
LISTED = 20  # places of the list in which a product counts as found
_TEXTS = ("stock_code", "description")


@dataclass(frozen=True)
class SampleFrames:
    """What samples are made of. ranks, rankings: of one model on test; its fit knew no event of the test.

    candidates: of the test, None for a model of one stage. recommendations: None without.
    """

    queries: DataFrame
    sequences: DataFrame
    rankings: DataFrame
    ranks: DataFrame
    interactions: DataFrame
    items: DataFrame
    popularity: DataFrame
    candidates: DataFrame | None
    recommendations: DataFrame | None


def sample_customers(
    frames: SampleFrames, seed: int, recent_days: int, quotas: Mapping[str, int], materialise: Callable[..., DataFrame]
) -> list[dict[str, Any]]:
    """At most NUM_SAMPLES entries, by hash: the query, and the rows of `history`, `listed`, `bought` and `now`.

    history: what was bought before the query, newest first. listed: the head of the model's list at the query, with
    reasons from what was known then. bought: the basket that followed, each product with its place in the list.
    now: the head of the run's recommendations.
    """
    chosen = materialise("samples", sampled_queries(frames.queries, seed))
    few = F.broadcast(chosen)
    before = materialise("samples_before", _bought_before(frames.interactions, few))
    parts = {
        "history": _history(before, frames.items),
        "listed": _listed(frames, few, before, recent_days, quotas),
        "bought": _bought(frames, few),
    }
    if frames.recommendations is not None:
        parts["now"] = _now(frames.recommendations, few)
    entries = {row["query_id"]: {**row.asDict(), **{part: [] for part in parts}} for row in _in_order(chosen).collect()}
    for part, frame in parts.items():
        for row in frame.orderBy("query_id", "place").collect():
            entries[row["query_id"]][part].append(row.asDict())
    return [_with_totals(entry) for entry in entries.values()]


def moment_of(options: Mapping[str, Any]) -> str:
    """The moment of recommendations in words. options: section `recommend` of the config that they were made with.

    >>> moment_of({}), moment_of({"as_of": "2011-05-09", "new_lines": ["may.csv"]})
    ('now, at the end of the data', 'as of 2011-05-09, with new lines')
    """
    as_of = options.get("as_of")
    moment = f"as of {as_of}" if as_of else "now, at the end of the data"
    return f"{moment}, with new lines" if options.get("new_lines") else moment


def sampled_queries(queries: DataFrame, seed: int) -> DataFrame:
    """One query of each of NUM_SAMPLES customers: query_id, user_idx, customer_id, event_time, day, hist_len, draw."""
    draw = F.xxhash64("query_id", F.lit(seed))
    one = queries.groupBy("customer_id").agg(
        F.min(F.struct(draw.alias("draw"), "query_id"))["query_id"].alias("query_id")
    )
    few = one.select("query_id", F.xxhash64("customer_id", F.lit(seed)).alias("draw"))
    few = few.orderBy("draw", "query_id").limit(NUM_SAMPLES)
    day = F.date_format("event_time", "yyyy-MM-dd")
    known = queries.join(F.broadcast(few), on="query_id", how="inner")
    return known.select("query_id", "user_idx", "customer_id", "event_time", day.alias("day"), "hist_len", "draw")


def _in_order(chosen: DataFrame) -> DataFrame:
    return chosen.orderBy("draw", "query_id").select("query_id", "customer_id", "day", "hist_len")


def _bought_before(interactions: DataFrame, few: DataFrame) -> DataFrame:
    """A row per query and product bought before it: times_bought and days_ago, whole days since the last time."""
    earlier = interactions.join(few.select("query_id", "customer_id", "event_time"), on="customer_id", how="inner")
    earlier = earlier.filter(F.col("invoice_date") < F.col("event_time"))
    since = F.unix_micros("event_time") - F.unix_micros(F.max("invoice_date"))
    return earlier.groupBy("query_id", "stock_code", "event_time").agg(
        F.count(F.lit(1)).alias("times_bought"), F.floor(since / F.lit(86_400_000_000)).alias("days_ago")
    )


def _history(before: DataFrame, items: DataFrame) -> DataFrame:
    newest = Window.partitionBy("query_id").orderBy("days_ago", F.desc("times_bought"), "stock_code")
    kept = before.withColumn("place", F.row_number().over(newest)).filter(F.col("place") <= SHOWN)
    return _described(kept, items).select("query_id", "place", *_TEXTS, "times_bought", "days_ago")


def _listed(
    frames: SampleFrames, few: DataFrame, before: DataFrame, recent_days: int, quotas: Mapping[str, int]
) -> DataFrame:
    of_query = frames.rankings.filter(F.col("protocol") == ALL_ITEMS).join(few.select("query_id"), "query_id", "inner")
    codes = of_query.select("query_id", F.posexplode(F.slice("stock_codes", 1, SHOWN)).alias("place", "stock_code"))
    listed = codes.withColumn("place", F.col("place") + 1)
    known = _described(listed, frames.items).join(frames.popularity, on="item_idx", how="left")
    known = known.join(before.drop("event_time"), on=["query_id", "stock_code"], how="left")
    sources = F.lit(None).cast("array<string>")
    if frames.candidates is not None:
        known = known.join(_told_sources(frames.candidates, few, quotas), on=["query_id", "item_idx"], how="left")
        sources = F.col("told")
    known = known.withColumn("told", sources).withColumn("best_source", F.split(F.element_at("told", 1), " ")[0])
    then = _positives(frames, few).select("query_id", "stock_code", F.lit(True).alias("was_bought"))
    known = known.join(then, on=["query_id", "stock_code"], how="left")
    return known.select(
        "query_id",
        "place",
        *_TEXTS,
        short_reason(recent_days).alias("reason"),
        F.array_join("told", ", ").alias("sources"),
        F.coalesce("was_bought", F.lit(False)).alias("was_bought"),
    )


def _told_sources(candidates: DataFrame, few: DataFrame, quotas: Mapping[str, int]) -> DataFrame:
    """Of each candidate the sources that proposed it, such as `own 3`, best first.

    quotas: what each may propose; beyond it a source ranks what only others proposed.
    """
    used = [source for source, quota in quotas.items() if quota]
    own = candidates.join(few.select("query_id"), on="query_id", how="inner")
    rows = own.select("query_id", F.explode(F.arrays_zip("items", *(f"rank_{source}" for source in used))).alias("one"))
    ranked = [_ranked(number, source, quotas[source]) for number, source in enumerate(used)]
    best_first = F.array_sort(F.filter(F.array(*ranked), lambda pair: pair["rank"] > 0))
    told = F.transform(best_first, lambda pair: F.concat_ws(" ", pair["source"], pair["rank"]))
    return rows.select("query_id", F.col("one.items").cast("bigint").alias("item_idx"), told.alias("told"))


def _ranked(number: int, source: str, quota: int) -> Column:
    """The rank 0 where the source did not propose the item. number: its place in the config, which breaks ties."""
    rank = F.col(f"one.rank_{source}")
    return F.struct(
        F.when(is_proposed(rank, quota), rank).otherwise(0).alias("rank"),
        F.lit(number).alias("number"),
        F.lit(source).alias("source"),
    )


def _positives(frames: SampleFrames, few: DataFrame) -> DataFrame:
    """A row per product of the baskets that followed, as SEQUENCES has it, with its code, description and rank."""
    bought = frames.sequences.join(few.select("query_id"), on="query_id", how="inner")
    ranks = frames.ranks.filter(F.col("protocol") == ALL_ITEMS).select("query_id", "pos_item_idx", "rank")
    bought = bought.join(ranks, on=["query_id", "pos_item_idx"], how="left")
    return _described(bought.withColumnRenamed("pos_item_idx", "item_idx"), frames.items, on="item_idx")


def _bought(frames: SampleFrames, few: DataFrame) -> DataFrame:
    bought = _positives(frames, few)
    whole = Window.partitionBy("query_id")
    best_first = whole.orderBy(F.asc_nulls_last("rank"), F.desc("line_amount"), "stock_code")
    money = F.sum(F.col("line_amount").cast("decimal(18,4)")).over(whole).cast("double")
    told = bought.select(
        "query_id",
        F.row_number().over(best_first).alias("place"),
        *_TEXTS,
        "line_amount",
        "is_repeat",
        "rank",
        F.count(F.lit(1)).over(whole).alias("basket_items"),
        money.alias("basket_money"),
        F.count_if(F.col("rank") <= LISTED).over(whole).alias("found"),
    )
    return told.filter(F.col("place") <= SHOWN)


def _now(recommendations: DataFrame, few: DataFrame) -> DataFrame:
    own = recommendations.filter(F.col("rank") <= SHOWN).join(
        few.select("query_id", "customer_id"), "customer_id", "inner"
    )
    return own.select("query_id", F.col("rank").alias("place"), *_TEXTS, "reason", "sources")


def _described(frame: DataFrame, items: DataFrame, on: str = "stock_code") -> DataFrame:
    wanted = [name for name in ("item_idx", *_TEXTS) if name == on or name not in frame.columns]
    return frame.join(items.select(*wanted), on=on, how="inner")


def _with_totals(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with the figures of the whole basket, which every row of `bought` carries."""
    rows: Iterable[dict[str, Any]] = entry["bought"]
    first = next(iter(rows), {"basket_items": 0, "basket_money": 0.0, "found": 0})
    return {**entry, **{key: first[key] for key in ("basket_items", "basket_money", "found")}}
