from __future__ import annotations

import json
import logging
import time

from recsys_spark.command_line import guarded
from recsys_spark.contracts.errors import DataError
from recsys_spark.logs import JsonLines, set_up_logs
from recsys_spark.runs.cost import cost_sheet
from recsys_spark.runs.memory import PeakMemory
from recsys_spark.runs.record import spoken_command

STAGES = {
    "ingest": {"seconds": 60.0, "rows_in": 0, "rows_out": 1000, "bytes_out": 3 << 30, "spilled_bytes": 5 << 20},
    "clean": {"seconds": 0.5, "rows_in": 1000, "rows_out": 990, "bytes_out": 900, "spilled_bytes": None},
}


def test_the_cost_sheet_lists_what_ran_and_projects_ten_times_the_lines():
    stages = {name: {**facts, "peak_memory": {"total": 2 << 30}} for name, facts in STAGES.items()}
    header, ingest, clean, together, *told = cost_sheet(stages, ["ingest", "clean"], seconds_to_start=5.0).splitlines()
    assert header.split()[:2] == ["stage", "seconds"]
    assert ingest.split() == ["ingest", "60.0", "0", "1,000", "3.0", "GiB", "2.0", "GiB", "5.0", "MiB"]
    assert clean.split() == ["clean", "0.5", "1,000", "990", "0.9", "KiB", "2.0", "GiB", "unknown"]
    assert together.split() == ["together", "60.5", "3.0", "GiB", "2.0", "GiB"]
    assert told[0].startswith("ten times the lines: about 10 min and 30.0 GiB, if every stage")  # (5 + 10 x 60.5) / 60
    assert "not a measurement" in told[1]


def test_peak_memory_sees_what_was_held_and_forgets_it_when_a_stage_begins():
    with PeakMemory().watched() as memory:
        low = memory.seen()["driver"]
        held = bytearray(200 << 20)
        held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
        time.sleep(1.3)  # it looks every second
        del held
        assert memory.seen()["driver"] > low + (150 << 20)
        memory.begin()
        assert memory.seen()["driver"] < low + (100 << 20)
    assert memory.seen()["total"] >= memory.seen()["driver"]


def test_json_lines_hold_the_facts_of_an_event():
    record = logging.LogRecord("recsys", logging.INFO, "", 0, "%s: done", ("clean",), None)
    record.facts = {"stage": "clean", "event": "done", "seconds": 1.5}
    line = json.loads(JsonLines().format(record))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "message": "clean: done", "stage": "clean", "event": "done", "seconds": 1.5}


def test_a_fault_is_a_json_line_where_the_log_is(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    def work() -> None:
        raise DataError("no date parses")

    assert guarded(work, debug=False, log_format="json") == 3
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"], line["exit"]) == ("error", "failed", 3)
    assert line["message"] == "error: no date parses"


def test_text_lines_begin_with_the_time(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    set_up_logs("text")
    logging.getLogger("recsys").info("clean: done")
    assert capsys.readouterr().err[8:] == " clean: done\n"


def test_secrets_of_a_command_line_are_not_kept():
    words = ["recsys", "--set", "session.conf={fs.s3a.access.key: x}", "--set", "paths.processed=s3://me:hush@bucket/x"]
    assert spoken_command(words) == "recsys --set session.conf=(hidden) --set paths.processed=s3://(hidden)@bucket/x"
    assert spoken_command(["recsys", "--set", "clean.dates.token_means=year"]).endswith("token_means=year")
