"""Small files that several processes read and write at the same time, on any store that fsspec knows; moves."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem


def is_local(fs: AbstractFileSystem) -> bool:
    """Whether paths of this file system are local files, which have hard and symbolic links."""
    return isinstance(fs, LocalFileSystem)


def move(fs: AbstractFileSystem, source: str, target: str) -> None:
    """Give a file or folder another place in its store. A local file takes the place of one that is there at once."""
    if is_local(fs):
        shutil.move(source, target)  # a rename; fsspec 2023.5, of Databricks 15.4, copies and then removes
    else:
        fs.mv(source, target, recursive=True)


def write_whole(fs: AbstractFileSystem, path: str, content: bytes) -> None:
    """Replace a file: a reader sees what was there before or all of the new content."""
    aside = _aside(path)
    fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
    try:
        fs.pipe_file(aside, content)
        move(fs, aside, path)
    except BaseException:
        with suppress(OSError):
            fs.rm_file(aside)
        raise


def create_whole(fs: AbstractFileSystem, path: str, content: bytes) -> bool:
    """Create a file with its content; False, and nothing done, where there is one. Of several processes one succeeds.

    On a store that cannot create exclusively (fsspec then looks first and writes after) two may believe they did.
    """
    fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
    try:
        if is_local(fs):
            _create_local(path, content)
        elif fs.exists(path):  # older versions of fsspec know no mode
            return False
        else:
            fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    return True


def read_json(fs: AbstractFileSystem, path: str) -> dict[str, Any] | None:
    """The mapping that a file holds, None where there is no file or no mapping in it."""
    try:
        values = json.loads(fs.cat_file(path))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _create_local(path: str, content: bytes) -> None:
    aside = Path(_aside(path))
    try:
        aside.write_bytes(content)
        try:
            os.link(aside, path)  # unlike an exclusive open, no reader ever finds the file empty
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            with Path(path).open("xb") as file:
                file.write(content)
    finally:
        aside.unlink(missing_ok=True)


def _aside(path: str) -> str:
    return f"{path}.{secrets.token_hex(4)}.tmp"
