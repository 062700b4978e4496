"""What a customer had bought at the moment that is recommended for, and which models may be asked then."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.rolling import item_days
from recsys_spark.cleaning.clean import NewLines, clean_new_lines
from recsys_spark.contracts.artifacts import ITEM_DAYS, Artifact
from recsys_spark.contracts.columns import INTERACTION_KEY
from recsys_spark.contracts.config import CleanConfig, IngestConfig, TablesConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.entities.id_maps import dense_index
from recsys_spark.frames import Materialise
from recsys_spark.ingest.readers import read_sources
from recsys_spark.paths import spark_uri
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.sequences.split import cutoff
from recsys_spark.stage import StageIO

_FITS_OF_CUTOFFS = ("train", "val")  # whose rankers there are
log = logging.getLogger("recsys")


def only_new_lines(
    interactions: DataFrame,
    paths: tuple[str, ...],
    ingest: IngestConfig,
    clean: CleanConfig,
    entry: CustomerEntry,
    materialise: Materialise,
) -> NewLines:
    """Lines of further files, cleaned by the same rules; the interactions are without what is known already.

    entry: how their customers come in. Quantities and prices of the new lines are not held against the bounds of the
    old ones.
    """
    raw = materialise("new_raw", entry.admit(read_sources(interactions.sparkSession, source_of(paths, ingest))))
    new = clean_new_lines(raw, clean, materialise)
    told = ", ".join(f"{rule} {count:,}" for rule, count in new.rejected.items())
    lost = f"{sum(new.rejected.values()):,} rejected{f' ({told})' if told else ''}"
    log.info("new lines: %s read, %s", f"{new.num_read:,}", lost)
    known = interactions.select(*(F.col(name).alias(f"known_{name}") for name in INTERACTION_KEY))
    # Lines without a customer or a time, where the rules let them pass, are known by what else they say.
    is_same = reduce(and_, (F.col(name).eqNullSafe(F.col(f"known_{name}")) for name in INTERACTION_KEY))
    return replace(new, interactions=new.interactions.join(known, on=is_same, how="left_anti"))


def source_of(paths: tuple[str, ...], ingest: IngestConfig) -> IngestConfig:
    """How the files are read: as the config reads its own, but as lines where that has three tables."""
    kind = "auto" if ingest.format == "tables" else ingest.format
    return replace(ingest, sources=paths, format=kind, tables=TablesConfig())


def with_new_customers(customer_ids: DataFrame, interactions: DataFrame, num_known: int) -> DataFrame:
    """CUSTOMER_ID_MAP with the customers that it lacks, under indices behind its last, which no model knows."""
    new = interactions.select("customer_id").join(customer_ids, on="customer_id", how="left_anti")
    numbered = dense_index(new, "customer_id", "user_idx").withColumn("user_idx", F.col("user_idx") + num_known)
    return customer_ids.unionByName(numbered.select(*customer_ids.columns))


@dataclass
class FresherSales(StageIO):
    """A stage's io in which ITEM_DAYS counts later lines too, as who counts sales every day would have it."""

    item_days: str = ""

    @classmethod
    def of(cls, io: StageIO, interactions: DataFrame, item_ids: DataFrame) -> FresherSales:
        """interactions: all lines, those of the run among them. What is read is remembered with the reads of `io`."""
        folder = io.scratch(f"item_days_{uuid.uuid4().hex}")  # a name of its own: processes outlive a run
        item_days(interactions, item_ids).write.parquet(spark_uri(folder))
        return cls(io.stage, io.storage, io.config, io.verify, io.inputs, io.outputs, io.sources, item_days=folder)

    def path_and_content(self, artifact: Artifact, **keys: str) -> tuple[str, str]:
        if artifact == ITEM_DAYS:
            return self.item_days, self.item_days
        return super().path_and_content(artifact, **keys)


def moment_after(interactions: DataFrame, as_of: str | None) -> DataFrame:
    """One row, event_time: the moment, or just after the last event."""
    if as_of:
        return interactions.sparkSession.range(1).select(cutoff(as_of).alias("event_time"))
    return interactions.agg((F.max("invoice_date") + F.expr("interval 1 microsecond")).alias("event_time"))


def before(interactions: DataFrame, moment: DataFrame) -> DataFrame:
    """The interactions before the moment. moment: of `moment_after`."""
    return interactions.join(F.broadcast(moment), on=F.col("invoice_date") < F.col("event_time"), how="left_semi")


def last_event(interactions: DataFrame) -> str:
    """Time of the last event, as the cutoffs are spelled."""
    row = interactions.agg(F.date_format(F.max("invoice_date"), "yyyy-MM-dd'T'HH:mm:ss.SSSSSS").alias("last")).first()
    assert row is not None  # an aggregate without keys has one row
    return str(row["last"])


def fit_at(as_of: str | None, cutoffs: Mapping[str, str], last_event: str) -> str:
    """The fit that knows most of what there was at the moment, and nothing later.

    cutoffs: split_cutoffs.json; last_event: of the lines that `full` was fitted to. ISO texts, of equal form. Raises
    ConfigError for a moment before the cutoff of `train`, at which no model was fitted yet.

    >>> cutoffs = {"train_end": "2011-05-01T00:00:00.000000", "val_end": "2011-06-01T00:00:00.000000"}
    >>> [fit_at(day, cutoffs, "2011-07-01T00:00:00.000000") for day in (None, "2011-07-02", "2011-06-30", "2011-06-01")]
    ['full', 'full', 'val', 'train']
    """
    if as_of is None or as_of > last_event:
        return "full"
    for fit in reversed(_FITS_OF_CUTOFFS):
        if as_of > cutoffs[f"{fit}_end"]:
            return fit
    raise ConfigError(f"recommend.as_of {as_of} is not after {cutoffs['train_end']}: no model was fitted by then")
