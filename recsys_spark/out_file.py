"""The place that --out names: looked at before the work begins, written when it is done."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from recsys_spark.contracts.errors import ConfigError
from recsys_spark.paths import filesystem, is_below, put_text, python_path
from recsys_spark.small_files import is_local


def require_free(target: str | None, roots: Sequence[str], needs_folder: bool = True) -> None:
    """Raise ConfigError for a place that is taken, lacks its folder, or lies among the artifacts of a root.

    needs_folder: of a file; a table makes the folders above it.
    """
    if target is None:
        return
    if "\0" in target:
        raise ConfigError(f"--out {target!r} holds a NUL character; give a path without one")
    fs, plain = filesystem(target)
    if fs.exists(plain) or os.path.islink(plain):  # noqa: PTH114  a path of any file system
        raise ConfigError(f"'{target}' exists already; name another place with --out")
    folder = str(PurePosixPath(plain).parent)
    if needs_folder and is_local(fs) and not fs.isdir(folder):
        raise ConfigError(f"there is no folder '{folder}' for '{target}'; make it, or name another place with --out")
    for root in roots:
        if is_below(python_path(target), python_path(root)):
            raise ConfigError(f"'{target}' lies among the artifacts of {root}; name a place outside with --out")


def write_json(target: str | None, values: Any) -> None:
    """Write a document where one was asked for."""
    if target is not None:
        put_text(json.dumps(values, indent=1, ensure_ascii=False), target)
