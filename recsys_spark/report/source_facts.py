"""What each source of candidates found of what test customers then bought, and what it alone found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.contracts.candidate_config import SOURCES, is_proposed


def source_contributions(candidates: DataFrame, quotas: Mapping[str, int]) -> dict[str, Any]:
    """Counts over all queries of CANDIDATES: positives, those found, and of each source proposed, found and alone.

    quotas: what each source may propose. A candidate also has ranks in sources that did not propose it, beyond their
    quotas; these do not count. proposed: candidates of the source; found: positives among them; alone: those of them
    that no other source proposed.
    """
    used = [source for source, quota in quotas.items() if quota]
    rows = F.arrays_zip("items", *(f"rank_{source}" for source in used))
    is_hit = F.filter(rows, lambda row: F.array_contains("positives", row["items"]))
    hits = candidates.withColumn("hits", F.transform(is_hit, lambda row: _proposers(row, quotas)))
    sums: list[Column] = [
        F.count(F.lit(1)).alias("queries"),
        F.sum(F.size("positives")).alias("positives"),
        F.sum(F.size("items")).alias("proposed"),
        F.sum(F.size("hits")).alias("found"),
    ]
    for source in used:
        sums += [
            _num_proposed(source, quotas[source]).alias(f"proposed_{source}"),
            _num_of(source).alias(f"found_{source}"),
            _num_of(source, by_at_most=1).alias(f"alone_{source}"),
        ]
    row = hits.agg(*sums).first()
    assert row is not None  # an aggregate without keys has one row
    each = {source: {key: row[f"{key}_{source}"] or 0 for key in ("proposed", "found", "alone")} for source in used}
    totals = {key: row[key] or 0 for key in ("queries", "positives", "proposed", "found")}
    return {**totals, "sources": each}


def _num_proposed(source: str, quota: int) -> Column:
    """Number of candidates that a source proposed."""
    return F.sum(F.size(F.filter(f"rank_{source}", lambda rank: is_proposed(rank, quota))))


def _num_of(source: str, by_at_most: int = len(SOURCES)) -> Column:
    """Number of hits that a source proposed, of those that so many sources proposed at most."""
    return F.sum(F.size(F.filter("hits", lambda hit: hit[source] & (hit["num"] <= by_at_most))))


def _proposers(row: Column, quotas: Mapping[str, int]) -> Column:
    """Of a candidate by source whether that proposed it, and by how many it was."""
    proposed = {source: is_proposed(row[f"rank_{source}"], quota) for source, quota in quotas.items() if quota}
    num = sum((flag.cast("int") for flag in proposed.values()), F.lit(0))
    return F.struct(num.alias("num"), *(flag.alias(source) for source, flag in proposed.items()))
