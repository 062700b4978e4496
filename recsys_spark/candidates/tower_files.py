"""The files that a trained tower left, as tasks find them: on local disk, arrays memory-mapped."""

from __future__ import annotations

import functools
import getpass
import os
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys_spark.baselines.mapped_arrays import map_array
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.paths import filesystem, is_on_disk

_ARRAYS_KEPT = 16  # of one Python process
_UNUSED_SECONDS = 24 * 3600.0  # after which a copy gives way to new ones


@dataclass(frozen=True)
class FittedFile:
    """A published file as tasks find it: its path and the digest of its bytes."""

    path: str
    content: str

    def local(self) -> str:
        """The file's path where that is local; else the path of a copy that the processes of a machine share.

        Where a copy is made, those that no process asked for in a day are removed: each run has files of its own, and
        a machine that lives long would keep those of all. Who has one of these mapped still reads it.
        """
        fs, plain = filesystem(self.path)
        if is_on_disk(self.path):
            return plain
        copy = self.copy
        _make_private(copy.parent)
        try:
            os.utime(copy)  # its time of change says when it was last asked for
        except FileNotFoundError:
            _remove_unused(copy.parent)
            aside = copy.parent / f"{copy.name}.{os.getpid()}"
            fs.get_file(plain, str(aside))
            os.utime(aside)
            aside.replace(copy)  # at once: another process may be looking for it
        return str(copy)

    @property
    def copy(self) -> Path:
        """Where the copy of a file that is not local lies, if there is one."""
        user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
        folder = Path(tempfile.gettempdir()) / f"recsys_models_{user}"
        return folder / f"{self.content}{Path(self.path).suffix}"

    def array(self) -> np.ndarray:
        """The array of a .npy file; a page of it is read when it is touched, and processes share it.

        Raises ArtifactError for a file that is no array of numbers: one of objects is a pickle, and is not opened.
        """
        try:
            return _array(self)
        except ValueError as error:
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> ArtifactError:
        """What to raise for a file that does not hold what it should."""
        return ArtifactError(f"{self.path} holds no arrays of numbers: {error}; run stage 'train_retriever' --force")


def _make_private(folder: Path) -> None:
    """Make a folder of this user alone. Raises ArtifactError for one that others own or may write to: they could put
    other models there, and in a folder for everybody's temporary files anyone may be the first.
    """
    fault = f"{folder} is not this user's alone, so models there cannot be trusted; remove it"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ArtifactError(fault) from error
    if not hasattr(os, "getuid"):  # Windows, whose temporary folders are each user's own
        return
    found = folder.lstat()
    is_shared = found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if is_shared or not stat.S_ISDIR(found.st_mode):
        raise ArtifactError(fault)


def _remove_unused(folder: Path) -> None:
    """Remove copies, whole or broken off, that were last asked for long ago."""
    latest = time.time() - _UNUSED_SECONDS
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process does the same
            if path.stat().st_mtime < latest:
                path.unlink()


@functools.lru_cache(maxsize=_ARRAYS_KEPT)
def _array(file: FittedFile) -> np.ndarray:
    return map_array(Path(file.local()))


@dataclass(frozen=True)
class TowerFiles:
    """What one tower of one fit ranks with. id_map: the content of the ITEM_ID_MAP that its item_idx are of."""

    item_embeddings: FittedFile
    item_offsets: FittedFile
    user_tower: FittedFile
    index: FittedFile
    index_card: FittedFile
    id_map: str
