"""The files that a trained tower left, as tasks find them: on local disk, arrays memory-mapped."""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from recsys_spark.baselines.mapped_arrays import map_array
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.paths import filesystem

_ARRAYS_KEPT = 16  # of one Python process
_MOUNTED = ("/dbfs/", "/Volumes/")  # file paths to Python, but an object store behind


@dataclass(frozen=True)
class FittedFile:
    """A published file as tasks find it: its path and the digest of its bytes."""

    path: str
    content: str

    def local(self) -> str:
        """The file's path where that is local; else the path of a copy that the processes of a machine share."""
        fs, plain = filesystem(self.path)
        if isinstance(fs, LocalFileSystem) and not plain.startswith(_MOUNTED):
            return plain
        copy = self.copy
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            aside = copy.parent / f"{copy.name}.{os.getpid()}"
            fs.get_file(plain, str(aside))
            aside.replace(copy)  # at once: another process may be looking for it
        return str(copy)

    @property
    def copy(self) -> Path:
        """Where the copy of a file that is not local lies, if there is one."""
        folder = Path(tempfile.gettempdir()) / f"recsys_{getpass.getuser()}"
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


def sha256_of(path: str | Path) -> str:
    """Digest of a local file's bytes, which is the content that its manifest states."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
