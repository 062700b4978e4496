"""One split of an evaluation, from frames to what fits on the driver: sums, counts and shares by model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.config import EvaluationConfig
from recsys_spark.evaluation.bootstrap import read_sums, resampled_sums
from recsys_spark.evaluation.diversity import customer_diversity
from recsys_spark.evaluation.facts import customer_activity, hits, positive_facts
from recsys_spark.evaluation.list_metrics import (
    LIST_K,
    all_lists,
    coverage,
    customer_list_sums,
    item_bits,
)
from recsys_spark.evaluation.protocols import ALL_ITEMS
from recsys_spark.evaluation.segments import customer_segment_hits, customer_segment_totals, with_segments
from recsys_spark.evaluation.sums import Sums, as_cells, customer_hits, customer_totals
from recsys_spark.evaluation.waterfall import count_positives, reached_by_candidates, reached_by_lists
from recsys_spark.sequences.split import cutoff

Materialise = Callable[[str, DataFrame], DataFrame]
ModelKey = tuple[str, str]  # model and protocol


@dataclass(frozen=True)
class SplitFrames:
    """The tables that one split is scored from; rankings, ranks and, of two-stage models, candidates by model name."""

    split: str
    cutoff: str  # ISO time of the fit whose models ranked this split, which begins after it
    until: str | None  # ISO time at which the split ends, None for the end of the data
    sequences: DataFrame
    interactions: DataFrame
    customer_id_map: DataFrame
    item_id_map: DataFrame
    items: DataFrame
    popularity: DataFrame
    rankings: Mapping[str, DataFrame]
    ranks: Mapping[str, DataFrame]
    candidates: Mapping[str, DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitSummary:
    """What is known of a split; its size depends on models, segments and replicates alone."""

    sums: Sums
    counts: dict[ModelKey, dict[str, int]]  # for waterfall
    coverage: dict[ModelKey, dict[str, float]]
    shares: dict[str, float | None]
    eligible_items: int  # items with an event up to the cutoff, of which lists are made
    first_orders: int  # customers whose first order lies in the split: it has no history, hence no query


def summarise(frames: SplitFrames, materialise: Materialise, config: EvaluationConfig, seed: int) -> SplitSummary:
    """Score one split. materialise(name, frame) keeps a frame that is read several times."""
    customers = customer_activity(frames.interactions, frames.customer_id_map, frames.cutoff)
    is_inside = _is_within(F.col("event_time"), frames.cutoff, frames.until)
    facts = positive_facts(frames.sequences.filter(is_inside), frames.popularity, customers)
    facts = with_segments(facts, frames.items, config.max_categories)
    facts = materialise(f"facts_{frames.split}", facts)
    found = materialise(f"hits_{frames.split}", hits(facts, frames.ranks))
    rankings = {model: frame.filter(is_inside) for model, frame in frames.rankings.items()}
    lists = all_lists(rankings)
    # Kept not for its cost: the size of what was written is known, so a small catalogue is broadcast.
    bits = materialise(f"bits_{frames.split}", item_bits(frames.popularity, frames.item_id_map))
    single = {model: frame for model, frame in rankings.items() if model not in frames.candidates}
    reached = [
        reached_by_lists(facts, single),
        *(reached_by_candidates(facts, found, *two) for two in frames.candidates.items()),
    ]
    list_cells = _list_cells(frames, facts, lists, bits, config.diversity_queries, seed)
    return SplitSummary(
        sums=collect_sums([*positive_cells(facts, found), *list_cells], config.replicates, seed),
        counts=_collected_counts(count_positives(facts, found, reduce(DataFrame.unionByName, reached))),
        coverage=_collected_coverage(coverage(lists, bits)),
        shares=_shares(facts),
        eligible_items=bits.count(),
        first_orders=customers.filter(_is_within(F.col("first_time"), frames.cutoff, frames.until)).count(),
    )


def positive_cells(facts: DataFrame, found: DataFrame) -> list[DataFrame]:
    """Cells of all means over positives and baskets. facts: with_segments; found: hits, with the columns of facts."""
    return [
        as_cells("hits", customer_hits(found)),
        as_cells("totals", customer_totals(facts)),
        as_cells("segment_hits", customer_segment_hits(found)),
        as_cells("segment_totals", customer_segment_totals(facts)),
    ]


def collect_sums(cells: Sequence[DataFrame], replicates: int, seed: int) -> Sums:
    """All sums and their replicates, on the driver."""
    resampled = resampled_sums(reduce(DataFrame.unionByName, cells), replicates, seed)
    return Sums({row["cell"]: read_sums(row["sums"], replicates) for row in resampled.collect()}, replicates)


def _list_cells(
    frames: SplitFrames, facts: DataFrame, lists: DataFrame, bits: DataFrame, diversity_queries: int, seed: int
) -> list[DataFrame]:
    queries = facts.select("query_id", "user_idx").distinct()
    chosen = queries.orderBy(F.xxhash64("query_id", F.lit(seed)), "query_id").limit(diversity_queries)
    early = frames.interactions.filter(F.col("invoice_date") <= cutoff(frames.cutoff))
    buyers = early.select("stock_code", "customer_id").distinct()
    return [
        as_cells("lists", customer_list_sums(lists, bits)),
        as_cells("diversity", customer_diversity(lists, chosen, buyers)),
    ]


def _is_within(time: Column, after: str, until: str | None) -> Column:
    is_after = time > cutoff(after)
    return is_after if until is None else is_after & (time <= cutoff(until))


def _shares(facts: DataFrame) -> dict[str, float | None]:
    """Shares of all positives and queries that say how hard a split is."""
    everything = facts.filter(F.col("protocol") == ALL_ITEMS)
    queries = everything.select("query_id", "is_cold_customer").distinct()
    positives = _share_of(everything, "is_cold_customer", "is_cold_item", "is_repeat")
    return {
        "queries_of_cold_customers": _share_of(queries, "is_cold_customer")["is_cold_customer"],
        "positives_of_cold_customers": positives["is_cold_customer"],
        "positives_with_cold_items": positives["is_cold_item"],
        "repeat_positives": positives["is_repeat"],
    }


def _share_of(frame: DataFrame, *flags: str) -> dict[str, float | None]:
    counts = frame.agg(F.count(F.lit(1)).alias("rows"), *(F.count_if(flag).alias(flag) for flag in flags)).first()
    assert counts is not None  # an aggregate without keys has one row
    return {flag: counts[flag] / counts["rows"] if counts["rows"] else None for flag in flags}


def _collected_counts(counts: DataFrame) -> dict[ModelKey, dict[str, int]]:
    found: dict[ModelKey, dict[str, int]] = {}
    for row in counts.collect():
        found.setdefault((row["model"], row["protocol"]), {})[row["name"]] = row["count"]
    return found


def _collected_coverage(shares: DataFrame) -> dict[ModelKey, dict[str, Any]]:
    return {
        (row["model"], row["protocol"]): {f"coverage@{k}": row[f"coverage_{k}"] for k in LIST_K}
        for row in shares.collect()
    }
