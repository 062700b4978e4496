from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from recsys_spark import source_files
from recsys_spark.contracts.errors import EXIT_USAGE, ConfigError, DataError
from recsys_spark.source_files import SourceState, expand, source_digests
from tests.support.stores import AccountStore

SUFFIXES = (".csv", ".xlsx")


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.csv", "a.XLSX", "~$a.xlsx", ".hidden.csv", "_part.csv", "notes.txt", "sub/c.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(found: list[str]) -> list[str]:
    assert all(path.startswith("file://") for path in found)
    return [Path(path).name for path in found]


def test_a_folder_means_its_files_of_the_format_without_hidden_and_lock_files(folder):
    assert names(expand([str(folder)], SUFFIXES)) == ["a.XLSX", "b.csv", "c.csv"]


def test_a_glob_and_a_file_mean_what_they_match(folder):
    assert names(expand([str(folder / "*.csv")], SUFFIXES)) == ["b.csv"]
    assert names(expand([str(folder / "notes.txt")], SUFFIXES)) == ["notes.txt"]


def test_files_of_a_store_keep_the_location_that_was_given():
    fs = AccountStore()
    for name in ("a.csv", "sub/b.csv"):
        fs.pipe_file(f"/sales/lines/{name}", b"x")
    root = "accounts://sales@acct.dfs/lines"
    assert expand([root, f"{root}/*.csv"], SUFFIXES) == [f"{root}/a.csv", f"{root}/sub/b.csv"]
    assert expand([f"{root}/sub/b.csv"], SUFFIXES) == [f"{root}/sub/b.csv"]
    assert source_digests([f"{root}/a.csv"])
    fs.rm("/sales", recursive=True)


def test_folders_that_are_hidden_are_left_out_and_those_of_a_column_are_not(tmp_path):
    for name in (".ipynb_checkpoints/a.csv", "_delta_log/b.csv", "sub/_old/c.csv", "_year=2011/d.csv", "sub/e.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert sorted(names(expand([str(tmp_path)], SUFFIXES))) == ["d.csv", "e.csv"]
    assert sorted(names(expand([f"{tmp_path}/*/*.csv"], SUFFIXES))) == ["d.csv", "e.csv"]


def test_a_hidden_folder_that_is_named_is_read(tmp_path):
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "a.csv").write_text("a")
    assert names(expand([str(tmp_path / ".data")], SUFFIXES)) == ["a.csv"]
    assert names(expand([f"{tmp_path}/.data/*.csv"], SUFFIXES)) == ["a.csv"]


@pytest.mark.parametrize("name", ["orders[1].xlsx", "a*.csv", "_export.csv", ".hidden.csv", "folder[1]/b.csv"])
def test_a_file_that_is_named_is_read_whatever_its_name(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(name)
    assert names(expand([str(tmp_path / name)], SUFFIXES)) == [Path(name).name]


def test_a_folder_may_bear_the_signs_of_a_pattern(tmp_path):
    (tmp_path / "orders [2011]").mkdir()
    (tmp_path / "orders [2011]" / "a.csv").write_text("a")
    assert names(expand([str(tmp_path / "orders [2011]")], SUFFIXES)) == ["a.csv"]


def test_a_file_named_twice_is_read_once(folder):
    assert names(expand([str(folder / "b.csv"), str(folder), f"{folder}/sub/../b.csv"], SUFFIXES)).count("b.csv") == 1


def test_a_relative_path_and_a_uri_name_the_same_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert expand(["b.csv", (folder / "b.csv").as_uri()], SUFFIXES) == [(folder / "b.csv").as_uri()]


@pytest.mark.parametrize("pattern", ["nothing.csv", "no_such_folder/x.csv"])
def test_a_path_that_does_not_exist_is_named(folder, pattern):
    with pytest.raises(ConfigError, match=f"{pattern}' does not exist; give a file") as caught:
        expand([str(folder / pattern)], SUFFIXES)
    assert caught.value.exit_code == EXIT_USAGE


def test_a_folder_or_glob_without_a_fitting_file_is_an_error(folder):
    (folder / "empty").mkdir()
    for pattern in ("empty", "*.parquet", "empty/*"):
        with pytest.raises(ConfigError, match=r"holds no file that ends in \.csv, \.xlsx"):
            expand([str(folder / pattern)], SUFFIXES)


def test_the_digest_follows_the_content_not_the_time(folder):
    path = folder / "b.csv"
    first = source_digests([str(path)])
    os.utime(path, (1, 1))
    assert source_digests([str(path)]) == first
    path.write_text("other")
    assert source_digests([str(path)]) != first
    assert list(first) == [f"source:{path}"]


def test_a_very_large_file_is_told_by_size_and_time(folder, monkeypatch):
    monkeypatch.setattr(source_files, "_HASHED_BYTES", 2)
    path = folder / "b.csv"
    first = source_digests([str(path)])
    os.utime(path, (1, 1))
    assert source_digests([str(path)]) != first


# How drivers of fsspec spell it: adlfs, s3fs, gcsfs; the last is of a store that does not tell.
SPELLINGS = [("etag", "last_modified"), ("ETag", "LastModified"), ("etag", "mtime"), ()]


@pytest.fixture(params=SPELLINGS, ids=lambda names: "-".join(names) or "none")
def stored(request, monkeypatch) -> str:
    """A file of a store that states what changes with its content under other names."""
    fs = AccountStore()
    inner = AccountStore.info

    def info(self: AccountStore, path: str, **options: Any) -> dict[str, Any]:
        found = inner(self, path, **options)
        told = [hash(self.cat_file(path)), found["created"]]
        return {"name": found["name"], "size": found["size"], "type": "file", **dict(zip(request.param, told))}  # noqa: B905

    monkeypatch.setattr(AccountStore, "info", info)
    fs.pipe_file("/sales/a.csv", b"old lines")
    yield "accounts://sales@acct.dfs/a.csv"
    fs.rm("/sales", recursive=True)


@pytest.mark.parametrize("hashed_bytes", [1 << 30, 2])
def test_other_content_of_the_same_size_is_seen_whatever_the_store_calls_its_facts(stored, monkeypatch, hashed_bytes):
    monkeypatch.setattr(source_files, "_HASHED_BYTES", hashed_bytes)
    before, digests = SourceState.of([stored]), source_digests([stored])
    before.require_unchanged()
    assert source_digests([stored]) == digests
    AccountStore().pipe_file("/sales/a.csv", b"new lines")
    assert source_digests([stored]) != digests
    with pytest.raises(DataError, match="changed while it was read"):
        before.require_unchanged()
