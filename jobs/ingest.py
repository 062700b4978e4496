"""Read purchase lines from workbooks, CSV, Parquet, or three normalised tables; every cell stays the text it was."""

from __future__ import annotations

from pyspark.sql import functions as F

from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import RAW_LINES
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.ingest.readers import read_sources, source_files
from recsys_spark.ingest.tables import read_tables, table_files
from recsys_spark.stage import Metrics, Stage, StageIO


def input_files(config: PipelineConfig) -> list[str]:
    """Every file that the stage reads. Raises ConfigError where none is configured, or where two ways are."""
    ingest = config.ingest
    if not ingest.tables.transactions:
        if ingest.format == "tables":
            raise ConfigError("ingest.format is tables: set ingest.tables.transactions")
        return source_files(ingest)
    if ingest.sources:
        raise ConfigError("set ingest.sources or ingest.tables.transactions, not both")
    return table_files(ingest)


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    """Write `raw_lines`, and count lines, files, and lines without their product or customer."""
    files = input_files(config)
    read = read_tables if config.ingest.tables.transactions else read_sources
    lines = io.write(RAW_LINES, read(io.spark, config.ingest))
    orphans = io.read(RAW_LINES).filter(F.col("ingest_rule").startswith("orphan_")).count()
    return {"lines": lines, "files": len(files), "orphans": orphans}


STAGE = Stage("ingest", reads=(), writes=(RAW_LINES,), sections=("ingest",), run=run, sources=input_files)

if __name__ == "__main__":
    main(STAGE)
