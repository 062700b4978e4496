from __future__ import annotations

import importlib
import sys
import zipfile

import pytest

from recsys_spark import code_version
from recsys_spark.code_version import code_digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A project named `proj`: a.py imports b, b imports c; d stands alone. Returns a writer of its modules."""

    def write(**modules: str) -> None:
        for name, source in modules.items():
            (tmp_path / "proj" / f"{name}.py").write_text(source)
        code_version._source.cache_clear()
        code_version._imports.cache_clear()
        importlib.invalidate_caches()

    (tmp_path / "proj").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code_version, "_PROJECT", ("proj",))
    write(__init__="", a="from proj import b\n", b="import proj.c\n", c="X = 1\n", d="import json\n")
    yield write
    write()
    for name in [name for name in sys.modules if name.split(".")[0] == "proj"]:
        del sys.modules[name]


def test_the_digest_is_the_same_for_the_same_code(package):
    first = code_digest("proj.a")
    package()
    assert code_digest("proj.a") == first
    assert len(first) == 16


def test_a_change_far_down_the_imports_changes_the_digest(package):
    first = code_digest("proj.a")
    package(c="X = 2\n")
    assert code_digest("proj.a") != first


def test_a_change_of_what_is_not_imported_leaves_the_digest(package):
    first = code_digest("proj.a")
    package(d="import json, re\n")
    assert code_digest("proj.a") == first


def test_a_change_of_a_template_beside_the_code_changes_the_digest(package, tmp_path):
    first = code_digest("proj.a")
    (tmp_path / "proj" / "templates").mkdir()
    (tmp_path / "proj" / "templates" / "page.html").write_text("<p>")
    second = code_digest("proj.a")
    (tmp_path / "proj" / "templates" / "page.html").write_text("<b>")
    assert len({first, second, code_digest("proj.a")}) == 3


def test_modules_that_import_each_other_have_a_digest(package):
    package(c="from proj import a\n")
    assert code_digest("proj.a")


def test_sources_inside_a_zip_give_the_same_digest(package, tmp_path, monkeypatch):
    outside = code_digest("proj.a")
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted((tmp_path / "proj").glob("*.py")):
            zipped.write(path, f"proj/{path.name}")
            path.unlink()
    (tmp_path / "proj").rename(tmp_path / "gone")
    sys.modules.pop("proj", None)
    monkeypatch.syspath_prepend(archive)
    package()
    assert code_digest("proj.a") == outside


def test_the_digest_of_a_real_module_covers_what_it_imports():
    assert "recsys_spark.contracts.config" in code_version._reachable("recsys_spark.stage")
    assert code_digest("recsys_spark.stage") != code_digest("recsys_spark.storage")


def test_what_only_starts_stages_is_no_part_of_their_code():
    reached = code_version._reachable("jobs.clean")
    assert {"jobs.clean", "recsys_spark.stage", "recsys_spark.session", "recsys_spark.cleaning.clean"} <= reached
    assert not [name for name in reached if name.startswith(("recsys_spark.runs", "recsys_spark.command_line"))]


def test_a_digest_imports_nothing(package):
    package(a="from proj.b import name\nraise SystemExit\n", b="name = 1\nraise SystemExit\n")
    before = set(sys.modules)
    code_digest("proj.a")
    assert {name for name in set(sys.modules) - before if name.startswith("proj")} == set()
