"""What trainers read and leave in an object store: fsspec's store in memory stands for one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

pytest.importorskip("torch")

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsys_spark.contracts.errors import TrainingError
from training import checkpoint
from training.checkpoint import Checkpoints
from training.files import folder_on_disk, read_table, read_text
from training.jobs import fingerprint

pytestmark = pytest.mark.torch

STATE = {"fingerprint": "f", "weights": torch.arange(3.0)}


@pytest.fixture(params=["disk", "store"])
def root(request, tmp_path) -> str:
    """A folder of the disk, or one of an object store."""
    if request.param == "disk":
        return str(tmp_path)
    store = fsspec.filesystem("memory")
    if store.exists("/trained"):
        store.rm("/trained", recursive=True)
    return "memory://trained"


def test_a_table_is_read_whole_or_by_columns(root, tmp_path):
    (tmp_path / "t").mkdir()
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), tmp_path / "t" / "part-0.parquet")
    if root.startswith("memory"):
        fsspec.filesystem("memory").put(str(tmp_path / "t"), "/trained/t", recursive=True)
    assert read_table(f"{root}/t").to_pydict() == {"a": [1, 2], "b": [3, 4]}
    assert read_table(f"{root}/t", ["b"]).to_pydict() == {"b": [3, 4]}


def test_files_made_on_disk_end_up_in_the_folder(root):
    with folder_on_disk(f"{root}/out") as folder:
        (folder / "a.txt").write_text("one")
    assert read_text(f"{root}/out/a.txt") == "one"
    assert read_text(f"{root}/out/b.txt") is None
    assert folder.exists() is not root.startswith("memory")  # nothing is left of the copy


def test_a_failure_leaves_nothing_in_a_store(tmp_path):
    def failing() -> None:
        with folder_on_disk("memory://trained/failed") as folder:
            (folder / "a.txt").write_text("half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        failing()
    assert read_text("memory://trained/failed/a.txt") is None


def test_a_checkpoint_is_found_again_and_belongs_to_its_settings(root):
    checkpoints = Checkpoints(f"{root}/checkpoints/one")
    assert checkpoints.load("f") is None
    checkpoints.save({**STATE, "weights": torch.zeros(3)})
    checkpoints.save(STATE)
    found = Checkpoints(f"{root}/checkpoints/one").load("f")
    assert found is not None
    assert torch.equal(found["weights"], STATE["weights"])
    assert checkpoints.load("other settings") is None


def test_a_kill_while_saving_on_a_mount_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    def killed_while_it_copies(self: LocalFileSystem, source: str, target: str, **_: object) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:20])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "is_on_disk", lambda path: False)  # as of /Volumes and /dbfs
    monkeypatch.setattr(LocalFileSystem, "mv", killed_while_it_copies)
    checkpoints = Checkpoints(tmp_path)
    with suppress(KeyboardInterrupt):
        checkpoints.save(STATE)
    found = checkpoints.load("f")
    assert found is not None
    assert torch.equal(found["weights"], STATE["weights"])


def test_a_damaged_checkpoint_is_named_with_its_scheme(root):
    fs, plain = fsspec.core.url_to_fs(f"{root}/checkpoints/two")
    fs.makedirs(plain, exist_ok=True)
    fs.pipe_file(f"{plain}/checkpoint.pt", b"PK")
    with pytest.raises(TrainingError, match=f"the checkpoint {root}/checkpoints/two/checkpoint.pt cannot be used"):
        Checkpoints(f"{root}/checkpoints/two").load("f")


def test_a_fingerprint_changes_with_the_content_of_a_table(root):
    def publish(content: str) -> str:
        fs, plain = fsspec.core.url_to_fs(f"{root}/t.parquet.manifest.json")
        fs.makedirs(str(Path(plain).parent), exist_ok=True)
        fs.pipe_file(plain, f'{{"content": "{content}"}}'.encode())
        return fingerprint({}, [f"{root}/t.parquet"], world_size=1, layout=())

    assert publish("one") == publish("one") != publish("two")
