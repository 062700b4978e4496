from __future__ import annotations

import pytest

from recsys_spark.paths import fetch, filesystem, is_glob, python_path, spark_uri


@pytest.mark.parametrize(
    ("given", "spark", "python"),
    [
        ("/data/x y", "file:///data/x y", "/data/x y"),
        ("file:///data/x", "file:///data/x", "/data/x"),
        ("file:/data/x", "file:///data/x", "/data/x"),
        ("file:///Volumes/c/s/v", "/Volumes/c/s/v", "/Volumes/c/s/v"),
        ("s3://bucket/x", "s3://bucket/x", "s3://bucket/x"),
        ("hdfs://node/x", "hdfs://node/x", "hdfs://node/x"),
        ("dbfs:/x", "dbfs:/x", "/dbfs/x"),
        ("/dbfs/x", "dbfs:/x", "/dbfs/x"),
        ("/Volumes/c/s/v", "/Volumes/c/s/v", "/Volumes/c/s/v"),
    ],
)
def test_each_spelling_has_one_for_spark_and_one_for_python(given, spark, python):
    assert (spark_uri(given), python_path(given)) == (spark, python)


def test_a_relative_path_is_below_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert python_path("data") == str(tmp_path / "data")
    assert spark_uri("data") == (tmp_path / "data").as_uri()


def test_the_file_system_spells_a_path_without_scheme(tmp_path):
    fs, plain = filesystem(tmp_path.as_uri())
    assert plain == str(tmp_path)
    assert fs.exists(plain)


@pytest.mark.parametrize(("path", "expected"), [("/a/*.csv", True), ("/a/b?.csv", True), ("/a/b.csv", False)])
def test_wildcards_make_a_glob(path, expected):
    assert is_glob(path) is expected


def test_what_is_fetched_may_have_signs_of_a_pattern_in_its_name(tmp_path):
    (tmp_path / "[a]" / "in").mkdir(parents=True)
    (tmp_path / "[a]" / "in" / "x*.txt").write_text("x")
    fetch(str(tmp_path / "[a]"), str(tmp_path / "copy"))
    fetch(str(tmp_path / "[a]" / "in" / "x*.txt"), str(tmp_path / "one"))
    assert (tmp_path / "copy" / "in" / "x*.txt").read_text() == (tmp_path / "one").read_text() == "x"
