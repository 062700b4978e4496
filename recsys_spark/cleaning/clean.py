"""Raw lines -> clean interactions and, for every line that is in none of them, the rule that took it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.cleaning.aggregate import (
    grouped_lines,
    label_copies,
    passed_columns,
    repeated_keys,
    single_lines,
)
from recsys_spark.cleaning.cancellations import label_cancelled, returns_among
from recsys_spark.cleaning.coverage import label_rare
from recsys_spark.cleaning.date_checks import require_order_of_day_and_month
from recsys_spark.cleaning.outliers import describe, fit_bounds, is_outlier, winsorise, with_bounds
from recsys_spark.cleaning.rules import label_lines, typed_lines
from recsys_spark.cleaning.text import normal_forms
from recsys_spark.contracts.columns import SOURCE_COLUMNS
from recsys_spark.contracts.config import CLEAN_RULES, INGEST_RULES, CleanConfig, SplitConfig
from recsys_spark.contracts.errors import DataError
from recsys_spark.contracts.schemas import INTERACTIONS_CLEAN, REJECTED_LINES
from recsys_spark.frames import BROADCAST_ROWS, Materialise
from recsys_spark.sequences.split import cutoff, fit_cutoffs

NEED_ALL_LINES = ("outlier", "rare_item", "rare_customer")  # rules that lines which came later are not held against


@dataclass(frozen=True)
class Cleaned:
    """What cleaning makes of the lines. `outliers` is the report's section about bounds."""

    interactions: DataFrame
    rejected: DataFrame
    cutoffs: dict[str, str]
    outliers: dict[str, Any]


@dataclass(frozen=True)
class NewLines:
    """INTERACTIONS_CLEAN of lines that came later, how many lines were read, and of these what each rule took out."""

    interactions: DataFrame
    num_read: int
    rejected: dict[str, int]


def clean_lines(raw: DataFrame, config: CleanConfig, split: SplitConfig, materialise: Materialise) -> Cleaned:
    """Apply the rules of preparation in their order.

    Raises DataError where no date parses, many have day and month swapped, or no line is left.
    """
    lines, groups = _grouped(raw, config, materialise)
    aggregated = groups.filter("num_lines > 0")
    cutoffs = fit_cutoffs(aggregated, split)
    bounds = materialise("bounds", fit_bounds(aggregated, cutoff(cutoffs["train_end"]), config.outliers))
    bounded = with_bounds(aggregated, bounds, config.outliers)
    outlier = F.when(is_outlier(), "outlier") if config.drops_outliers else F.lit(None).cast("string")
    judged = label_rare(bounded.withColumn("rule", outlier), config, materialise)
    kept = judged.filter("rule is null")
    winsorises = config.applies("outlier") and config.outliers.mode == "winsorize"
    finished = winsorise(kept) if winsorises else kept.withColumn("was_winsorised", F.lit(False))

    rejected = lines.filter("is_rejected").select("rejected.*")
    late = groups.select(F.inline("dropped"))
    if config.rejects_interactions:
        gone = judged.filter("rule is not null").select("rule", F.explode("sources").alias("source"))
        late = late.unionByName(gone)
    return Cleaned(
        interactions=finished.select(*INTERACTIONS_CLEAN.names),
        rejected=rejected.unionByName(_rejected_late(raw, late)),
        cutoffs=cutoffs,
        outliers=describe(bounded, config.outliers),
    )


def clean_new_lines(raw: DataFrame, config: CleanConfig, materialise: Materialise) -> NewLines:
    """Lines that came later, by the same rules, but for those of NEED_ALL_LINES.

    Raises DataError where no date parses and where no line is left.
    """
    lines, groups = _grouped(raw, config, materialise)
    kept = groups.filter("num_lines > 0").withColumn("was_winsorised", F.lit(False))
    counts = lines.groupBy(F.col("rejected.rule").alias("rule")).count().collect()
    early = {row["rule"]: row["count"] for row in counts}  # None: passed; so the sum is of all lines
    late = groups.select(F.inline("dropped")).groupBy("rule").count().collect()
    by_rule = {**early, **{row["rule"]: row["count"] for row in late}}
    rejected = {rule: by_rule[rule] for rule in INGEST_RULES + CLEAN_RULES if rule in by_rule}
    return NewLines(kept.select(*INTERACTIONS_CLEAN.names), sum(early.values()), rejected)


def _grouped(raw: DataFrame, config: CleanConfig, materialise: Materialise) -> tuple[DataFrame, DataFrame]:
    """Lines that passed or were rejected on their own, and one row per interaction key of those that passed."""
    vocabulary = _vocabulary(raw, materialise)
    labelled = label_lines(raw, config, vocabulary)
    lines = materialise("lines", _passed_or_rejected(labelled, config), partition_by="is_rejected")
    passed = lines.filter("not is_rejected").select("passed.*")
    rejected = lines.filter("is_rejected").select("rejected.*")
    require_order_of_day_and_month(raw, rejected.filter("rule = 'unparsed_date'"), config.dates.formats)
    if config.nets_cancellations:
        # Typed anew, but they are few; and kept, as no filter upon what they are typed from compiles.
        returns = materialise("returns", typed_lines(returns_among(rejected), config, vocabulary))
        groups = materialise("groups", grouped_lines(label_cancelled(label_copies(passed, config), returns, config)))
    else:
        groups = _group(passed, config, materialise)
    if groups.filter("num_lines > 0").isEmpty():
        _explain_nothing_left(labelled)
    return lines, groups


def _vocabulary(raw: DataFrame, materialise: Materialise) -> DataFrame | None:
    """`normal_forms` of codes and descriptions, as `label_lines` takes them: one no-break space makes them a table."""
    kept = materialise("vocabulary", normal_forms(raw, ("stock_code", "description")))
    num_texts = kept.count()
    if num_texts == 0:
        return None
    return F.broadcast(kept) if num_texts <= BROADCAST_ROWS else kept


def _passed_or_rejected(labelled: DataFrame, config: CleanConfig) -> DataFrame:
    """Both outcomes of the one pass over the raw lines: `passed`, typed columns, or `rejected`, the source's text."""
    is_rejected = F.col("rule").isNotNull()
    return labelled.select(
        is_rejected.alias("is_rejected"),
        F.when(~is_rejected, F.struct(*passed_columns(config))).alias("passed"),
        F.when(is_rejected, F.struct(*REJECTED_LINES.names)).alias("rejected"),
    )


def _group(lines: DataFrame, config: CleanConfig, materialise: Materialise) -> DataFrame:
    """One row per interaction key. Only lines whose key occurs again are shuffled, unless these keys are too many."""
    repeated = materialise("repeated", repeated_keys(lines))
    if repeated.count() > BROADCAST_ROWS:
        return materialise("groups", grouped_lines(label_copies(lines, config)))
    few = F.broadcast(repeated)
    again = lines.join(few, on="key_hash", how="left_semi")
    groups = materialise("groups", grouped_lines(label_copies(again, config)))
    return single_lines(lines.join(few, on="key_hash", how="left_anti")).unionByName(groups)


def _rejected_late(raw: DataFrame, late: DataFrame) -> DataFrame:
    """Source lines of `late` (rule, source): those whose rule showed only beside other lines."""
    num_late = late.count()
    by_source = late.select("rule", "source.*")
    if num_late == 0:
        return raw.withColumn("rule", F.lit("")).select(*REJECTED_LINES.names).limit(0)
    if num_late <= BROADCAST_ROWS:
        by_source = F.broadcast(by_source)
    return raw.join(by_source, on=list(SOURCE_COLUMNS), how="inner").select(*REJECTED_LINES.names)


def _explain_nothing_left(labelled: DataFrame) -> None:
    if labelled.filter("time is not null").isEmpty():
        commonest = labelled.groupBy("invoice_date").count().orderBy(F.desc("count"), "invoice_date").limit(10)
        shown = ", ".join(repr(row["invoice_date"]) for row in commonest.collect())
        raise DataError(
            f"no invoice date parses; the commonest values are {shown}. Add their form to clean.dates.formats"
        )
    counts = labelled.groupBy(F.coalesce("rule", F.lit("a later rule")).alias("rule")).count()
    shown = ", ".join(f"{row['rule']} {row['count']:,}" for row in counts.orderBy(F.desc("count"), "rule").collect())
    raise DataError(f"all lines were rejected: {shown}. Look at clean.rules, or at the columns that were mapped")
