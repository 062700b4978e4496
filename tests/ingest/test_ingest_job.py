import logging

import pytest

from jobs.ingest import STAGE, input_files, run
from recsys_spark.contracts.artifacts import RAW_LINES
from recsys_spark.contracts.config import IngestConfig, PathsConfig, PipelineConfig, TablesConfig
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.contracts.load_config import load_config
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.ingest.workbook_files import CSV_HEADER, CSV_LINE, HEADERS, LINE, ingest_config, write_text, write_workbook
from tests.support.memory_io import MemoryIO


def test_the_stage_counts_lines_files_and_orphans(spark, tmp_path):
    transactions = write_text(tmp_path / "t.csv", CSV_HEADER, CSV_LINE, CSV_LINE.replace("00123", "00999"))
    products = write_text(tmp_path / "p.csv", "stock_code,brand", "00123,ACME")
    config = PipelineConfig(ingest=IngestConfig(tables=TablesConfig(transactions=transactions, products=products)))
    assert run(MemoryIO(spark), config) == {"lines": 2, "files": 2, "skipped_files": 0, "orphans": 1}


def test_the_session_splits_files_afterwards_as_before(spark, tmp_path):
    key = "spark.sql.files.minPartitionNum"
    spark.conf.unset(key)
    path = write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE)
    seen = []

    class WatchedIO(MemoryIO):
        def write(self, artifact, frame):
            seen.append(spark.conf.get(key, None))
            return super().write(artifact, frame)

    run(WatchedIO(spark), PipelineConfig(ingest=ingest_config(path)))
    assert (seen, spark.conf.get(key, None)) == (["2"], None)  # two cores


def test_the_log_shows_shape_headers_and_mapping(spark, tmp_path, caplog):
    path = write_workbook(tmp_path / "orders.xlsx", {"March": [["Sales"], [*HEADERS, "City"], [*LINE, "Riyadh"]]})
    with caplog.at_level(logging.INFO, logger="recsys"):
        run(MemoryIO(spark), PipelineConfig(ingest=ingest_config(path)))
    line = next(record.message for record in caplog.records if "orders.xlsx" in record.message)
    assert line.startswith(
        "orders.xlsx, sheet 'March': 3 rows x 8 columns, headers in row 2; mapped invoice_id <- 'InvoiceNo'"
    )
    assert line.endswith("other columns: 'City'")


def test_a_failed_run_leaves_the_lines_of_the_last_one(spark, tmp_path):
    path = write_workbook(tmp_path / "orders.xlsx", [HEADERS, LINE])
    config = PipelineConfig(paths=PathsConfig(processed=str(tmp_path / "run")), ingest=ingest_config(path))
    storage = Storage(config.paths.processed, spark)
    run_stage(STAGE, config, storage)
    write_workbook(tmp_path / "orders.xlsx", [HEADERS])
    with pytest.raises(DataError, match="no line below the headers"):
        run_stage(STAGE, config, storage)
    assert storage.read_table(RAW_LINES.path, RAW_LINES.schema).count() == 1


@pytest.mark.parametrize(
    ("ingest", "message"),
    [
        (IngestConfig(), "nothing to ingest"),
        (IngestConfig(format="tables"), r"set ingest\.tables\.transactions"),
        (IngestConfig(sources=("a.csv",), tables=TablesConfig(transactions="b.csv")), "not both"),
    ],
)
def test_what_to_read_must_be_said_once(ingest, message):
    with pytest.raises(ConfigError, match=message):
        input_files(PipelineConfig(ingest=ingest))


def test_the_configs_of_the_repository_load(request):
    loaded = [load_config([str(request.config.rootpath / "conf" / name)]) for name in ("workbook.yaml", "demo.yaml")]
    assert [bool(config.ingest.sources) for config in loaded] == [True, False]
    assert [bool(config.ingest.tables.transactions) for config in loaded] == [False, True]
