from __future__ import annotations

import fsspec

from recsys_spark.small_files import move, write_whole

LOCAL = fsspec.filesystem("file")


def test_a_reader_that_has_a_file_open_never_sees_the_next_one_half_written(tmp_path):
    path = tmp_path / "card.json"
    write_whole(LOCAL, str(path), b"old" * 1000)
    with path.open("rb") as reader:
        write_whole(LOCAL, str(path), b"new")
        assert reader.read() == b"old" * 1000  # a copy over the file would have cut it
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["card.json"]


def test_files_and_folders_are_moved_without_a_copy(tmp_path):
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "part").write_text("x")
    number = (tmp_path / "aside" / "part").stat().st_ino
    move(LOCAL, str(tmp_path / "aside"), str(tmp_path / "table"))
    move(LOCAL, str(tmp_path / "table" / "part"), str(tmp_path / "table" / "first"))
    assert (tmp_path / "table" / "first").stat().st_ino == number
    assert not (tmp_path / "aside").exists()


def test_a_store_without_renames_is_moved_in_too():
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/moves/aside/part", b"x")
    move(memory, "/moves/aside", "/moves/table")
    assert memory.cat_file("/moves/table/part") == b"x"
    assert not memory.exists("/moves/aside")
    memory.rm("/moves", recursive=True)
