"""Read purchase lines from workbooks, CSV, Parquet, or three normalised tables; every cell stays the text it was."""

from __future__ import annotations

from pyspark.sql import Observation

from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import INGEST_REPORT, RAW_LINES
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.ingest.bad_files import BadFiles
from recsys_spark.ingest.readers import files_passed_over, read_sources, source_files
from recsys_spark.ingest.report import NotRead, ingest_report, rounded_ids
from recsys_spark.ingest.splits import splits_kept
from recsys_spark.ingest.tables import read_tables, table_files
from recsys_spark.privacy.entry import CustomerEntry
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
    """Write `raw_lines`, and count lines, files, those skipped, and lines without their product or customer."""
    files = input_files(config)
    bad = BadFiles(skip=config.ingest.on_bad_file == "skip")
    read = read_tables if config.ingest.tables.transactions else read_sources
    entry, left_out = CustomerEntry.of(config.ingest, config.paths.processed), Observation("forgotten")
    rounded = Observation("rounded ids")
    with splits_kept(io.spark):
        source = read(io.spark, config.ingest, bad).observe(rounded, *rounded_ids())  # before ids become pseudonyms
        lines = io.write(RAW_LINES, entry.admit(source, left_out))
    others = [] if config.ingest.tables.transactions else files_passed_over(config.ingest)
    beside = NotRead(bad, others, rounded.get)
    beside.warn()
    report = ingest_report(io.read(RAW_LINES), files, beside)
    forgotten = left_out.get["lines"] if entry.forgotten else 0
    key = entry.facts().get("pseudonymise_key")
    io.write_json(INGEST_REPORT, {**report, "forgotten_lines": forgotten, "pseudonymise_key": key})
    return {"lines": lines, "files": len(files), "skipped_files": len(bad.found), "orphans": report["orphans"]}


def entry_facts(config: PipelineConfig) -> dict[str, str]:
    """What decides, beside files and config, which customers come in and under which names."""
    return CustomerEntry.of(config.ingest, config.paths.processed).facts()


STAGE = Stage(
    "ingest",
    reads=(),
    writes=(RAW_LINES, INGEST_REPORT),
    sections=("ingest",),
    run=run,
    sources=input_files,
    facts=entry_facts,
)

if __name__ == "__main__":
    main(STAGE)
