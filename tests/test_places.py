"""Nothing that a name, a key or a config says leads out of the root, or makes another folder a root."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys_spark import paths
from recsys_spark.contracts.artifacts import RANKINGS
from recsys_spark.contracts.config import PathsConfig
from recsys_spark.contracts.errors import EXIT_USAGE, ArtifactError, ConfigError, StageGraphError
from recsys_spark.paths import is_below, place_below, require_own_folder
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.support.stages import ANN_AND_BOB, NOTE, PEOPLE, PEOPLE_TABLE, config_for, people, stage_of

LEADING_OUT = ("../x", "/etc/passwd", "a/../../x", "a//b", "a/./b", "..", "", "a\\..\\b", "a\0b", "a/")


@pytest.mark.parametrize("label", LEADING_OUT)
def test_a_label_that_leads_out_of_the_root_is_refused(label):
    with pytest.raises(ArtifactError, match="is no name of an artifact"):
        place_below("/data/run", label)


@pytest.mark.parametrize("key", ["a/b", "..", "../x", "/x", "", "a b", "a\0", "٣", "a.b", "a\n"])
def test_an_id_that_is_no_plain_word_is_no_key(key):
    with pytest.raises(StageGraphError, match="must be of letters, digits"):
        RANKINGS.path_of(model=key, split="test")
    assert RANKINGS.path_of(model="two_tower_all", split="test") == "rankings_two_tower_all_test.parquet"


def test_a_folder_is_told_from_one_whose_name_begins_alike(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert is_below(f"{tmp_path}/link/x", f"{tmp_path}/run")
    assert is_below(f"{tmp_path}/run", f"{tmp_path}/run")
    assert not is_below(f"{tmp_path}/run2/x", f"{tmp_path}/run")
    assert not is_below(f"{tmp_path}/run/../x", f"{tmp_path}/run")


@pytest.mark.spark
@pytest.mark.parametrize("label", LEADING_OUT)
def test_storage_writes_reads_and_lists_nothing_outside_its_root(spark, tmp_path, label):
    storage = Storage(str(tmp_path / "deep" / "run"), spark)
    storage.open_root()
    for attempt in (
        lambda: storage.stage_text("stage", label, "{}"),
        lambda: storage.stage_table("stage", label, people(spark, ANN_AND_BOB), PEOPLE_TABLE),
        lambda: storage.read_json(label),
        lambda: storage.read_table(label, PEOPLE_TABLE),
        lambda: storage.checkpoint_folder("stage", label),
        lambda: storage.stage_record(f"../../{label}"),
    ):
        with pytest.raises(ArtifactError, match="is no name of an artifact"):
            attempt()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]


def test_a_symbolic_link_in_the_place_of_an_artifact_is_named_and_not_followed(spark, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    root = tmp_path / "run"
    storage = Storage(str(root), spark)
    storage.open_root()
    for link in ("people.parquet", "_staging", "fit=val"):
        (root / link).symlink_to(mine)
        stage = stage_of(
            lambda io, config: {
                "rows": io.write(PEOPLE, people(io.spark, ANN_AND_BOB)),
                "note": io.write_file(NOTE, lambda path: Path(path).write_text("hello"), fit="val"),
            },
            writes=(PEOPLE, NOTE),
        )
        with pytest.raises(ArtifactError, match=rf"{link} is a symbolic link; remove it"):
            run_stage(stage, config_for(root), storage, force=True)
        (root / link).unlink()
    assert [path.name for path in mine.iterdir()] == ["letter.txt"]


def test_a_root_may_itself_be_a_link(spark, tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "large disk")
    storage = Storage(str(tmp_path / "run"), spark)
    storage.open_root()
    storage.publish("facts", "facts.json", storage.stage_text("facts", "facts.json", "{}"))
    assert (tmp_path / "large disk" / "facts.json").read_text() == "{}"


def test_the_whole_disk_and_the_home_folder_are_no_roots(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path)
    for root in ("/", "//", str(tmp_path), f"{tmp_path}/", f"{tmp_path}/x/..", f"{tmp_path}/link"):
        with pytest.raises(ConfigError, match="is no folder of its own") as caught:
            require_own_folder(paths.python_path(root))
        assert caught.value.exit_code == EXIT_USAGE
    require_own_folder(str(tmp_path / "run"))
    require_own_folder("s3://bucket/run")


@pytest.mark.spark
def test_a_root_at_home_is_refused_before_anything_is_written(spark, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="is no folder of its own"):
        Storage(str(tmp_path), spark).open_root()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("root", ["", "  ", "a\0b"])
def test_a_root_without_a_name_is_a_config_error(root):
    with pytest.raises(ConfigError, match=r"paths\.processed must be a path without NUL characters"):
        PathsConfig(processed=root)
