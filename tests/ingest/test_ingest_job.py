import logging

import pytest

from jobs.ingest import STAGE, input_files, run
from recsys_spark.contracts.artifacts import INGEST_REPORT, RAW_LINES
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


def test_files_that_are_passed_over_and_hidden_sheets_are_told(spark, tmp_path, caplog):
    write_workbook(tmp_path / "jan.xlsx", {"Lines": [HEADERS, LINE], "Old": [HEADERS, LINE]}, hidden=["Old"])
    for name in ("feb.ods", "mar.csv.zip", "_may.xlsx", "_SUCCESS", ".jan.csv.crc", "~$jan.xlsx", "_old/a.ods"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    io = MemoryIO(spark)
    with caplog.at_level(logging.WARNING, logger="recsys"):
        assert run(io, PipelineConfig(ingest=ingest_config(str(tmp_path))))["lines"] == 1
    report = io.read_json(INGEST_REPORT)
    assert [path.rpartition("/")[2] for path in report["passed_over_files"]] == ["_may.xlsx", "feb.ods", "mar.csv.zip"]
    assert report["hidden_sheets"] == [{"file": f"file://{tmp_path}/jan.xlsx", "sheet": "Old"}]
    assert "_may.xlsx, feb.ods, mar.csv.zip" in caplog.text
    assert "jan.xlsx, sheet 'Old': hidden" in caplog.text


def test_ids_whose_digits_a_spreadsheet_program_cut_off_are_counted(spark, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "a key of a test, no secret")
    codes = ["5.01235E+12", "5.01235E+12", "1E+15", "E+1", "15.0E+3", "5012350000000"]
    lines = [CSV_LINE.replace("00123", code).replace("17850", codes[0]) for code in codes]
    path = write_text(tmp_path / "a.csv", CSV_HEADER, *lines)
    io = MemoryIO(spark)
    with caplog.at_level(logging.WARNING, logger="recsys"):
        run(io, PipelineConfig(ingest=ingest_config(path, pseudonymise_key_env="SOME_KEY")))
    assert io.read_json(INGEST_REPORT)["rounded_ids"] == {"invoice_id": 0, "stock_code": 3, "customer_id": 6}
    assert "3 lines hold an id such as 5.01235E+12 in stock_code" in caplog.text


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
