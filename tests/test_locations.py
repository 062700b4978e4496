"""An object store as root of the artifacts: fsspec's store in memory stands for one, and needs no Spark for files."""

from __future__ import annotations

import fsspec
import pytest

from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.locations import is_on_disk, petastorm_url, python_path, spark_uri
from recsys_spark.paths import on_disk, put_file
from recsys_spark.storage import Storage


@pytest.fixture
def storage() -> Storage:
    """Over an empty root; files and documents ask no session."""
    store = fsspec.filesystem("memory")
    if store.exists("/root"):
        store.rm("/root", recursive=True)
    found = Storage("memory://root/run/", spark=None)  # type: ignore[arg-type]
    found.open_root()
    return found


@pytest.mark.parametrize(
    ("given", "spark", "python"),
    [
        ("dbfs:/Volumes/c/s/v/x", "/Volumes/c/s/v/x", "/Volumes/c/s/v/x"),
        ("abfss://c@account.dfs.core.windows.net/x", "abfss://c@account.dfs.core.windows.net/x", None),
        ("gs://bucket/x", "gs://bucket/x", None),
    ],
)
def test_a_location_has_one_spelling_for_spark_and_one_for_python(given, spark, python):
    assert (spark_uri(given), python_path(given)) == (spark, python or given)


def test_a_tilde_is_the_home_folder_and_names_that_begin_with_one_stay(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.chdir("/tmp")
    assert [python_path(path) for path in ("~/run", "~", "~$book.xlsx", "a/~/b")] == [
        "/home/ada/run",
        "/home/ada",
        "/tmp/~$book.xlsx",
        "/tmp/a/~/b",
    ]
    assert spark_uri("~/run") == "file:///home/ada/run"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("/data/x", "file:///data/x"),
        ("file:/data/x", "file:///data/x"),
        ("/Volumes/c/s/v", "file:///Volumes/c/s/v"),
        ("dbfs:/x", "file:///dbfs/x"),
    ],
)
def test_petastorm_gets_a_file_url(given, url):
    assert petastorm_url(given) == url


@pytest.mark.parametrize("given", ["s3://b/x", "abfss://c@a/x", "memory://x"])
def test_petastorm_is_refused_an_object_store(given):
    with pytest.raises(ConfigError, match="engine petastorm reads local files, not .*; use engine arrow"):
        petastorm_url(given)
    assert not is_on_disk(given)


def test_paths_below_a_remote_root_keep_its_scheme(storage):
    assert storage.location == "memory://root/run"
    assert storage.scratch("train", "all") == "memory://root/run/_staging/train/scratch/all"
    assert storage.checkpoint_folder("train", "all") == "memory://root/run/_checkpoints/train/all"


def test_documents_and_files_are_published_in_a_remote_root(storage, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"weights")
    for label, staged in (
        ("facts.json", storage.stage_text("train", "facts.json", '{"a": 1}')),
        (
            "fit=val/w.pt",
            storage.stage_file("train", "fit=val/w.pt", lambda to: put_file(str(tmp_path / "weights.pt"), to)),
        ),
    ):
        storage.publish("train", label, staged)
    assert storage.read_json("facts.json") == {"a": 1}
    path = storage.path("fit=val/w.pt", verify="full")
    assert path == "memory://root/run/fit=val/w.pt"
    with fsspec.open(path) as file:
        assert file.read() == b"weights"
    storage.sweep("train")
    assert not fsspec.filesystem("memory").exists("/root/run/_staging")


def test_a_remote_folder_is_copied_to_disk_while_it_is_used(storage, tmp_path):
    (tmp_path / "a.txt").write_text("one")
    put_file(str(tmp_path / "a.txt"), f"{storage.location}/out/a.txt")
    with on_disk(f"{storage.location}/out") as folder:
        assert (tmp_path.__class__(folder) / "a.txt").read_text() == "one"
    assert not tmp_path.__class__(folder).exists()
    with on_disk(str(tmp_path)) as folder:
        assert folder == str(tmp_path)
