"""Arrays that one task leaves in a folder for others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from recsys_spark.baselines.mapped_arrays import map_array
from recsys_spark.paths import filesystem
from recsys_spark.small_files import is_local, move


def save_arrays(folder: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write each array as NAME.npy below `folder`, a local path or an fsspec URI.

    A file is there whole or not at all, also where Spark runs a task twice and ends one of the two while it writes.
    """
    fs, base = filesystem(folder)
    fs.makedirs(base, exist_ok=True)
    for name, values in arrays.items():
        aside = _path(base, f"_{name}_{uuid4().hex}")
        with fs.open(aside, "wb") as file:
            np.save(file, values, allow_pickle=False)
        move(fs, aside, _path(base, name))


def load_arrays(folder: str, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Arrays by name: mapped from a local folder, so that the tasks of a machine share them, else read."""
    fs, base = filesystem(folder)
    if is_local(fs):
        return {name: map_array(Path(_path(base, name))) for name in names}
    arrays = {}
    for name in names:
        with fs.open(_path(base, name), "rb") as file:
            arrays[name] = np.load(file, allow_pickle=False)
    return arrays


def _path(base: str, name: str) -> str:
    return f"{base.rstrip('/')}/{name}.npy"
