"""Checkpoints that are whole or not there, so that a killed run goes on where the last one was taken."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from recsys_spark.contracts.archives import require_archive
from recsys_spark.contracts.errors import TrainingError
from recsys_spark.contracts.locations import is_on_disk
from training.files import located

_NAME = "checkpoint.pt"


class Checkpoints:
    """The newest checkpoint of a run, in a folder of any file system that all ranks see. Only the first rank writes."""

    def __init__(self, folder: str | Path, writes: bool = True) -> None:
        self.path = f"{str(folder).rstrip('/')}/{_NAME}"
        self._fs, self._plain = located(self.path)
        self._is_on_disk = is_on_disk(self.path)
        self._writes = writes

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint; a kill at any moment leaves the old or the new one."""
        if not self._writes:
            return
        aside = f"{self._plain}.tmp"
        self._fs.makedirs(self._plain.rpartition("/")[0], exist_ok=True)
        if self._is_on_disk:
            _write_through(state, Path(aside))
            Path(aside).replace(self._plain)
            return
        with tempfile.TemporaryDirectory(prefix="recsys_") as folder:
            local = Path(folder) / _NAME
            _write_through(state, local)
            self._fs.put_file(str(local), aside)
        _replace(self._fs, aside, self._plain)

    def load(self, fingerprint: str) -> dict[str, Any] | None:
        """The checkpoint, None where there is none or where it belongs to other data or settings.

        Raises TrainingError for a file that cannot be read.
        """
        if not self._fs.exists(self._plain):
            return None
        try:
            with self._fs.open(self._plain, "rb") as file:
                state: dict[str, Any] = torch.load(require_archive(file), map_location="cpu", weights_only=True)
            return state if state["fingerprint"] == fingerprint else None
        except Exception as error:  # of a damaged file: whatever zip, pickle and torch make of it
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> TrainingError:
        """What to raise for a checkpoint that cannot be gone on with."""
        told = str(error).strip().splitlines() or [""]
        return TrainingError(
            f"the checkpoint {self.path} cannot be used ({type(error).__name__}: {told[0]}). Remove the file to train "
            "from the start"
        )


def _replace(fs: AbstractFileSystem, source: str, target: str) -> None:
    if isinstance(fs, LocalFileSystem):  # what is mounted, too
        os.replace(source, target)  # noqa: PTH105  fsspec 2023.5, of Databricks 15.4, copies and then removes
    else:
        fs.mv(source, target)


def _write_through(state: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
