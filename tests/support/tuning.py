"""Settings tried on a finished run, as the stage `baselines` tries them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs import baselines
from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.baselines.split_ranking import choose_settings
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.sequences.reading import read_histories
from recsys_spark.stage import StageIO
from recsys_spark.storage import Storage


def tuned_on(root: Path, spark: SparkSession, config: PipelineConfig) -> dict[str, Any]:
    """What `choose_settings` finds for the models of the config on the val queries of a run."""
    io = StageIO(baselines.STAGE, Storage(str(root), spark), config)
    histories = read_histories(io, merge_minutes=0)
    settings = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    return choose_settings(io, settings, histories, fit="train", split="val")
