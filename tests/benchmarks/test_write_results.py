from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.harness import figure, report
from benchmarks.write_results import write_results
from recsys_spark.manifest import Manifest

FUNNEL = {
    "lines_read": 1010,
    "lines_kept": 1000,
    "lines_rejected": 10,
    "rules": [
        {"rule": "return", "applied": True, "lines": 10, "units": -12.0, "money": -30.5},
        {"rule": "outlier", "applied": True, "lines": 0, "units": 0.0, "money": 0.0},
    ],
    "kept": {"lines": 1000, "units": 2000.0, "money": 5000.25},
}


@pytest.fixture
def results(tmp_path) -> Path:
    return tmp_path / "docs" / "results"


@pytest.fixture
def run(tmp_path) -> Path:
    root = tmp_path / "run"
    root.mkdir()
    manifest = Manifest("cleaning_report.json", "json", "clean", None, None, 1, "c", (), libraries={"pyspark": "3.5.9"})
    (root / "cleaning_report.json").write_text(json.dumps({"funnel": FUNNEL}))
    created = json.loads(manifest.to_json()) | {"created": "2026-01-02T03:04:05+00:00"}
    (root / "cleaning_report.json.manifest.json").write_text(json.dumps(created))
    return root


def test_the_page_lists_every_figure_with_goal_and_outcome(results, capsys):
    report("sort", [figure("sort.growth", 12.0, "<= 11"), figure("sort.ratio", 0.5, "<= 1")], results)
    page = write_results({}, results)
    assert page == results.parent / "results.md"
    text = page.read_text()
    assert "| `sort.growth` | 12 | `<= 11` | **no** |" in text
    assert "| `sort.ratio` | 0.5 | `<= 1` | yes |" in text


def test_a_run_shows_its_funnel_date_and_versions(results, run):
    text = write_results({"shop": str(run)}, results).read_text()
    assert "## Run `shop`\n\n2026-01-02, " in text
    assert "pyspark 3.5.9" in text
    assert "1,010 lines read, 1,000 kept, 10 rejected." in text
    assert "| return | 10 | -12 | -30.50 |" in text
    assert "| kept | 1,000 | 2,000 | 5,000.25 |" in text
    assert "outlier" not in text


def test_a_run_taken_in_once_stays_on_the_page(results, run):
    first = write_results({"shop": str(run)}, results).read_text()
    assert write_results({}, results).read_text() == first


def test_a_folder_that_is_no_run_is_a_one_line_error(results, tmp_path):
    with pytest.raises(SystemExit, match="holds neither cleaning_report.json nor evaluation.json"):
        write_results({"shop": str(tmp_path)}, results)


def test_without_anything_measured_the_page_has_its_header_alone(results):
    assert write_results({}, results).read_text().startswith("# Results\n")
