"""What an earlier run made and what still holds is linked or copied into a new run instead of made again."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath

from fsspec import AbstractFileSystem

from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.freshness import given_to, has_outputs, is_fresh, recipe_of
from recsys_spark.manifest import SUFFIX
from recsys_spark.paths import filesystem
from recsys_spark.small_files import is_local, write_whole
from recsys_spark.stage import Stage
from recsys_spark.storage import Storage


def carry_fresh(stage: Stage, config: PipelineConfig, base: Storage, storage: Storage, verify: str) -> bool:
    """Take a stage over from `base` where what it made there is what it would make in `storage` now."""
    record = base.stage_record(stage.name)
    if record is None:
        return False
    recipe = recipe_of(stage, config, given_to(stage, config))
    return is_fresh(record, recipe, storage, verify, outputs=base) and carry(stage.name, base, storage)


def carry(stage: str, base: Storage, storage: Storage) -> bool:
    """Take a stage over as it is; False where `base` has not all of it. Both roots lie in one file system.

    Files come first, then their manifest, the stage's record last: killed in between, the stage was not carried over.
    """
    record = base.stage_record(stage)
    if record is None or not has_outputs(record, base):
        return False
    (_, source), (fs, target) = filesystem(base.root), filesystem(storage.root)
    storage.require_held()
    for label in record["outputs"]:
        _take(fs, source, target, label)
    storage.write_stage_record(stage, record)
    return True


def _take(fs: AbstractFileSystem, source: str, target: str, label: str) -> None:
    """source, target: roots as `fs` lists what lies below them, without a scheme."""
    old, new = f"{source}/{label}", f"{target}/{label}"
    for outdated in (new + SUFFIX, new):
        if fs.exists(outdated):
            fs.rm(outdated, recursive=True)
    paths = fs.find(old) if fs.isdir(old) else [old]
    for path in paths:
        link_or_copy(fs, path, new + path.removeprefix(old))
    write_whole(fs, new + SUFFIX, fs.cat_file(old + SUFFIX))


def link_or_copy(fs: AbstractFileSystem, source: str, target: str) -> None:
    """A second name for a local file, which costs no space; a copy where that is not to be had."""
    fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
    if not is_local(fs):
        fs.cp_file(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links, or one that has given out as many as it can
        with suppress(FileNotFoundError):
            Path(target).unlink()
        shutil.copyfile(source, target)  # mounts of object stores refuse modes and times
