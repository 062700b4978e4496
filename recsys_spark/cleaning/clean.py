"""Raw lines -> clean interactions and, for every line that is in none of them, the rule that took it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.cleaning.aggregate import aggregate_lines, sellable_lines
from recsys_spark.cleaning.cancellations import label_cancelled
from recsys_spark.cleaning.coverage import label_rare
from recsys_spark.cleaning.outliers import describe, fit_bounds, is_outlier, winsorise, with_bounds
from recsys_spark.cleaning.rules import line_rule, type_lines
from recsys_spark.cleaning.text import normal_forms
from recsys_spark.contracts.columns import SOURCE_COLUMNS
from recsys_spark.contracts.config import CleanConfig, SplitConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.schemas import INTERACTIONS_CLEAN, REJECTED_LINES
from recsys_spark.sequences.split import cutoff, fit_cutoffs

Materialise = Callable[[str, DataFrame], DataFrame]
# Late rejections up to this number are sent to all executors; a shuffle of every raw line costs far more.
_BROADCAST_ROWS = 1_000_000


@dataclass(frozen=True)
class Cleaned:
    """What cleaning makes of the lines. `outliers` is the report's section about bounds."""

    interactions: DataFrame
    rejected: DataFrame
    cutoffs: dict[str, str]
    outliers: dict[str, Any]


def clean_lines(raw: DataFrame, config: CleanConfig, split: SplitConfig, materialise: Materialise) -> Cleaned:
    """Apply the rules of preparation in their order; `materialise(name, frame)` keeps a frame that is read again.

    The raw lines are read twice, once for each output; what lies between is shuffled once, by the interactions' key.
    Raises DataError where no date parses and where no line is left.
    """
    labelled = label_lines(raw, config)
    lines = sellable_lines(labelled.filter("rule is null"), config)
    if config.net_cancellations and config.applies("cancelled"):
        lines = label_cancelled(lines, labelled)
    drops_outliers = config.outliers.mode == "drop" and config.applies("outlier")
    keep_sources = drops_outliers or config.coverage.rounds > 0
    groups = materialise("groups", aggregate_lines(lines, keep_sources))
    aggregated = groups.filter("num_lines > 0")
    if aggregated.isEmpty():
        _explain_nothing_left(labelled)
    cutoffs = fit_cutoffs(aggregated, split)

    bounds = materialise("bounds", fit_bounds(aggregated, cutoff(cutoffs["train_end"]), config.outliers))
    bounded = with_bounds(aggregated, bounds, config.outliers)
    outlier = F.when(F.lit(drops_outliers) & is_outlier(), "outlier")
    judged = label_rare(bounded.withColumn("rule", outlier), config)
    kept = judged.filter("rule is null")
    winsorises = config.outliers.mode == "winsorize" and config.applies("outlier")
    finished = winsorise(kept) if winsorises else kept.withColumn("was_winsorised", F.lit(False))
    late = groups.select(F.inline("dropped"))
    if keep_sources:
        gone = judged.filter("rule is not null").select("rule", F.explode("sources").alias("source"))
        late = late.unionByName(gone)
    return Cleaned(
        interactions=finished.select(*INTERACTIONS_CLEAN.names),
        rejected=_rejected(labelled, late),
        cutoffs=cutoffs,
        outliers=describe(bounded, config.outliers),
    )


def label_lines(raw: DataFrame, config: CleanConfig) -> DataFrame:
    """Raw lines with their typed twins and, in `rule`, the first rule before `exact_duplicate` that they break."""
    vocabulary = normal_forms(raw, ("stock_code", "description"))
    typed = type_lines(raw, config, None if vocabulary.isEmpty() else vocabulary)
    return typed.withColumn("rule", line_rule(config))


def _rejected(labelled: DataFrame, late: DataFrame) -> DataFrame:
    """Lines with the rule that they broke, be it their own or a `late` one (rule, source), seen in their group."""
    num_late = late.count()
    if num_late == 0:
        return labelled.filter("rule is not null").select(*REJECTED_LINES.names)
    by_source = late.select(F.col("rule").alias("_late"), "source.*")
    if num_late <= _BROADCAST_ROWS:
        by_source = F.broadcast(by_source)
    joined = labelled.join(by_source, on=list(SOURCE_COLUMNS), how="left")
    ruled = joined.withColumn("rule", F.coalesce("rule", "_late"))
    return ruled.filter("rule is not null").select(*REJECTED_LINES.names)


def _explain_nothing_left(labelled: DataFrame) -> None:
    if labelled.filter("time is not null").isEmpty():
        commonest = labelled.groupBy("invoice_date").count().orderBy(F.desc("count"), "invoice_date").limit(10)
        shown = ", ".join(repr(row["invoice_date"]) for row in commonest.collect())
        raise DataError(f"no invoice date parses; the commonest values are {shown}. Add their form to clean.dates.formats")
    counts = labelled.groupBy(F.coalesce("rule", F.lit("a later rule")).alias("rule")).count()
    shown = ", ".join(f"{row['rule']} {row['count']:,}" for row in counts.orderBy(F.desc("count"), "rule").collect())
    raise DataError(f"all lines were rejected: {shown}. Look at clean.rules, or at the columns that were mapped")
