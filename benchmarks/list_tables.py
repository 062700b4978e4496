"""Lists of a split and the ranks of its positives: both tables in one pass over the queries, against plain Spark.

Over the val queries of a finished run (`--config` as it ran), by models that take next to no time to score. Plain Spark
keeps the lists, writes those that are published, joins them with the positives and looks these up in them.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from benchmarks.finished_run import opened_run
from benchmarks.harness import figure, median_ratio, medians, paired_seconds, report
from jobs.baselines import STAGE
from recsys_spark.baselines.fitting import fitted_tables
from recsys_spark.baselines.list_tables import Always, ListTables
from recsys_spark.baselines.ranking import Model, rank
from recsys_spark.baselines.registry import Fitted, ModelSettings, ranking_model
from recsys_spark.baselines.split_ranking import asked_in
from recsys_spark.contracts.artifacts import ITEM_ID_MAP, SEQUENCES
from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS
from recsys_spark.contracts.schemas import POSITIVE_RANKS, RANKINGS
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.frames import empty_frame
from recsys_spark.part_files import parts_of_tables
from recsys_spark.sequences.reading import read_histories

MODELS, FIT, SPLIT = ("popularity", "personal_frequency"), "train", "val"


def in_one_pass(asked: DataFrame, models: list[Model], fitted: Fitted) -> None:
    """As the stages do it."""
    schemas = [to_arrow_schema(empty_frame(asked.sparkSession, table).schema) for table in (RANKINGS, POSITIVE_RANKS)]
    for model in models:
        with tempfile.TemporaryDirectory() as lists, tempfile.TemporaryDirectory() as ranks:
            parts_of_tables(asked, ListTables(Always((model,)), fitted.codes), schemas, [lists, ranks]).collect()


def by_joins(asked: DataFrame, models: list[Model], fitted: Fitted, positives: DataFrame, item_ids: DataFrame) -> None:
    """With the lists as a frame."""
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            kept, lists, ranks = (str(Path(folder, name)) for name in ("kept", "lists", "ranks"))
            rank(asked, model, fitted.codes, LIST_LENGTH).write.parquet(kept)
            every = asked.sparkSession.read.schema(RANKINGS.ddl).parquet(kept)
            every.filter(F.col("protocol").isin(*LIST_PROTOCOLS)).write.parquet(lists)
            positive_ranks(every, positives, item_ids).write.parquet(ranks)


def main() -> None:
    """Report the ratio of the times."""
    io, repetitions = opened_run(__doc__, STAGE, repetitions=3)
    config = io.config
    settings = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    fitted = fitted_tables(io, FIT, MODELS, settings)
    models = [ranking_model(name, fitted, settings) for name in MODELS]
    asked = asked_in(io, read_histories(io, config.sequences.merge_minutes), SPLIT)
    positives, item_ids = io.read(SEQUENCES, split=SPLIT), io.read(ITEM_ID_MAP)
    contenders = {
        "one_pass": functools.partial(in_one_pass, asked, models, fitted),
        "joins": functools.partial(by_joins, asked, models, fitted, positives, item_ids),
    }
    seconds = paired_seconds(contenders, repetitions)
    told = {"seconds": medians(seconds), "positives": positives.count(), "customers": asked.count()}
    ratio = median_ratio(seconds["joins"], seconds["one_pass"])
    report("list_tables", [figure("list_tables.joins_over_one_pass", ratio, "> 1.0", **told)])
    io.storage.sweep(STAGE.name)


if __name__ == "__main__":
    main()
