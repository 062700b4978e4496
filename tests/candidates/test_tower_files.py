"""Fitted files of object stores are copied to the machine once, and copies that nobody asks for give way."""

from __future__ import annotations

import io
import os
import tempfile
import time

import fsspec
import numpy as np
import pytest

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.errors import ArtifactError

DAY = 24 * 3600


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Puts an array into an object store; copies lie below the test's folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = fsspec.filesystem("memory")

    def put(name: str, value: float) -> FittedFile:
        file = io.BytesIO()
        np.save(file, np.full(4, value))
        store.pipe_file(f"/fitted/{name}.npy", file.getvalue())
        return FittedFile(f"memory://fitted/{name}.npy", f"digest_{name}")

    yield put
    store.rm("/fitted", recursive=True)


def age(file: FittedFile, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(file.copy, (then, then))


def test_a_copy_is_made_once_and_lasts_while_it_is_asked_for(stored):
    first = stored("a", 1.0)
    assert first.local() == str(first.copy)
    fsspec.filesystem("memory").rm("/fitted/a.npy")
    age(first, days=2)
    assert first.local() == str(first.copy)  # asked for again: young
    stored("b", 2.0).local()
    assert first.copy.exists()


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_copies_are_kept_from_a_folder_that_others_may_write_to(stored, mode):
    file = stored("a", 1.0)
    file.copy.parent.mkdir()
    file.copy.parent.chmod(mode)
    with pytest.raises(ArtifactError, match="cannot be trusted"):
        file.local()
    file.copy.parent.rmdir()
    assert file.local() == str(file.copy)
    assert file.copy.parent.stat().st_mode & 0o777 == 0o700


def test_copies_are_kept_from_a_folder_behind_a_link(stored, tmp_path):
    file = stored("a", 1.0)
    (tmp_path / "elsewhere").mkdir()
    file.copy.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="cannot be trusted"):
        file.local()


def test_copies_that_nobody_asked_for_in_a_day_and_broken_off_ones_go_when_another_is_made(stored):
    old, recent = stored("old", 1.0), stored("recent", 2.0)
    mapped = old.array()
    recent.local()
    broken = old.copy.with_name("digest_x.npy.123")
    broken.write_bytes(b"half")
    os.utime(broken, (1, 1))
    age(old, days=1.1)
    age(recent, days=0.9)
    new = stored("new", 3.0)
    new.local()
    assert sorted(path.name for path in new.copy.parent.iterdir()) == ["digest_new.npy", "digest_recent.npy"]
    assert mapped.tolist() == [1.0] * 4  # what a process has mapped stays readable
    assert new.array().tolist() == [3.0] * 4
    assert FittedFile(old.path, old.content).local() == str(old.copy)  # and it can be had again


def test_a_file_of_this_machine_is_read_where_it_lies(tmp_path):
    assert FittedFile(str(tmp_path / "a.npy"), "x").local() == str(tmp_path / "a.npy")
    assert FittedFile(f"file://{tmp_path}/a.npy", "x").local() == str(tmp_path / "a.npy")
