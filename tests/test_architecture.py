"""What may import what, which driver calls are allowed, and how long a file may be."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "jobs": {"jobs", "recsys_spark", "training"},
    "recsys_spark": {"recsys_spark"},
    "training": {"training", "recsys_spark.contracts"},
    "recsys_spark/contracts": {"recsys_spark.contracts"},
}
PROJECT = {"jobs", "recsys_spark", "training", "tests", "benchmarks"}
CONTRACT_LIBRARIES = {"omegaconf", "yaml"}
MAX_LINES = 300

# Not to be had where only the DataFrame API is allowed.
RDD_NAMES = {"rdd", "sparkContext", "SparkContext", "_jvm", "_jdf", "_jsparkSession"}
RDD_NAMES_ALLOWED = {
    ("recsys_spark/runs/spill.py", "sparkContext"): "Spark's status store knows what was spilled; no data comes of it",
    ("recsys_spark/runs/spill.py", "_jvm"): "arguments of the status store",
    ("recsys_spark/jvm_names.py", "_jvm"): "look-ups of names are kept; no data comes of it",
    ("recsys_spark/baselines/nmf.py", "sparkContext"): "ALS cuts its lineage in a folder of the context",
}
# Calls that bring every row to the driver, and the files that may make them, each with what bounds the rows.
TO_DRIVER = {"collect", "toPandas", "toLocalIterator"}
DRIVER_CALLS_ALLOWED = {
    "recsys_spark/baselines/cost.py": "one row per bin of a histogram",
    "recsys_spark/baselines/ease.py": "the size of a solution",
    "recsys_spark/baselines/neighbours.py": "one row per block of columns",
    "recsys_spark/cleaning/clean.py": "the ten commonest values, one row per rule",
    "recsys_spark/cleaning/report.py": "one row per rule",
    "recsys_spark/run_summary.py": "the recommendations of one customer",
    "recsys_spark/evaluation/protocols.py": "one row per model and protocol",
    "recsys_spark/evaluation/summary.py": "sums, whose keys hold no customer",
    "recsys_spark/ingest/delimited.py": "one row per block of a file",
    "recsys_spark/ingest/file_tasks.py": "one row per file with a problem",
    "recsys_spark/ingest/report.py": "one row per source file",
    "recsys_spark/ingest/texts.py": "one row per source file",
    "recsys_spark/ingest/workbooks.py": "one row per file and sheet",
    "recsys_spark/ranker/calibration.py": "one row per protocol and bin of a histogram",
    "recsys_spark/ranker/importance.py": "one row per feature and protocol",
    "recsys_spark/ranker/places.py": "sums, whose keys hold no customer",
    "recsys_spark/serving/customers.py": "one row per part file",
    "recsys_spark/report/data_facts.py": "one row per week or month, size step or category, three per rule",
    "recsys_spark/report/samples.py": "twenty customers",
    "recsys_spark/monitoring/calibration.py": "65,536 keys of scores at most",
    "recsys_spark/monitoring/histograms.py": "65,537 keys a column at most",
    "recsys_spark/monitoring/lines.py": "categories, weekdays, each up to a limit",
    "recsys_spark/monitoring/lists.py": "distinct numbers of listings, the root of twice the listings at most",
    "recsys_spark/monitoring/money.py": "one row per week and side",
    "recsys_spark/monitoring/neighbours.py": "monitor.neighbour_items products",
    "recsys_spark/part_files.py": "one row per part file",
    "recsys_spark/storage.py": "one row per part file",
    "recsys_spark/workbook_writer.py": "one number of rows",
}
SPARK_FORMATS = {"parquet", "csv"}  # calls of readers and writers, which take a path


def sources(*folders: str) -> list[Path]:
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    assert found, f"no source in {folders}"
    return found


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""


def named(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno


def driver_calls(path: Path) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{line} {name}" for name, line in named(path) if name in TO_DRIVER]


def is_below(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("folder", [folder for folder in ALLOWED if (ROOT / folder).is_dir()])
def test_imports_point_one_way(folder):
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(folder)
        for module in imported(path)
        if is_below(module, PROJECT) and not is_below(module, ALLOWED[folder])
    ]
    assert wrong == []


def test_contracts_import_the_standard_library_and_config_parsers_alone():
    libraries = {
        module.split(".")[0]
        for path in sources("recsys_spark/contracts")
        for module in imported(path)
        if not is_below(module, PROJECT)
    }
    assert libraries - set(sys.stdlib_module_names) <= CONTRACT_LIBRARIES


def test_no_code_reaches_below_the_dataframe_api():
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sources("jobs", "recsys_spark")
        for name, line in named(path)
        if name in RDD_NAMES and (str(path.relative_to(ROOT)), name) not in RDD_NAMES_ALLOWED
    ]
    assert found == []


def test_rows_reach_the_driver_only_where_something_bounds_them():
    found = [
        call
        for path in sources("jobs", "recsys_spark")
        if str(path.relative_to(ROOT)) not in DRIVER_CALLS_ALLOWED
        for call in driver_calls(path)
    ]
    assert found == []


def test_spark_is_given_no_path_as_python_spells_it():
    """Without scheme a path is one of the cluster's default store, and what is read is a pattern."""
    found, seen = [], 0
    for path in sources("jobs", "recsys_spark"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SPARK_FORMATS:
                call, seen = ast.unparse(node), seen + 1
                spellings = ("spark_uri(", "self._uri") if ".write." in call else ("spark_glob(",)
                if not any(spelling in ast.unparse(node.args[0]) for spelling in spellings):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {call}")
    assert found == []
    assert seen >= 12


def test_files_stay_short():
    long = {
        str(path.relative_to(ROOT)): length
        for path in sources(*(PROJECT & {path.name for path in ROOT.iterdir()}))
        if (length := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_every_module_says_what_it_is_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in sources("jobs", "recsys_spark")
        if path.name != "__init__.py" and ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]
    assert silent == []
