"""Checkpoints that are whole or not there, so that a killed run goes on where the last one was taken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from recsys_spark.contracts.archives import require_archive
from recsys_spark.contracts.errors import TrainingError

_NAME = "checkpoint.pt"


class Checkpoints:
    """The newest checkpoint of a run, in a folder that all ranks see. Only the first rank writes."""

    def __init__(self, folder: str | Path, writes: bool = True) -> None:
        self.path = Path(folder) / _NAME
        self._writes = writes

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint; a kill at any moment leaves the old or the new one."""
        if not self._writes:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".tmp")
        with aside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)

    def load(self, fingerprint: str) -> dict[str, Any] | None:
        """The checkpoint, None where there is none or where it belongs to other data or settings.

        Raises TrainingError for a file that cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(require_archive(str(self.path)), map_location="cpu", weights_only=True)
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
