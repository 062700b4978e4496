"""What the jobs of all trainers share: their text, their fingerprint, their command line, and what they return."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow  # noqa: F401  as everywhere, before torch
import torch

from training.files import read_text
from training.loop import Trained
from training.reader import ParquetReader
from training.row_groups import MANIFEST_SUFFIX, Layout

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def to_json(job: DataclassInstance) -> str:
    """A job's fields as text."""
    return json.dumps(asdict(job), indent=1)


def text_to_run_anew(job: DataclassInstance, name: str) -> str:
    """A job's text with folders of this name below where it is run: a stage's own are gone when the stage is done."""
    folders = {"out_folder": name, "checkpoint_folder": f"{name}_checkpoints", "tracking_folder": "."}
    return json.dumps(asdict(job) | folders, indent=1)


def fields_of(text: str) -> dict[str, Any]:
    """The fields that `to_json` wrote; what was a tuple is one again.

    >>> fields_of('{"seed": 1, "config": {"towers": ["a", "b"]}}')
    {'seed': 1, 'config': {'towers': ('a', 'b')}}
    """
    return {name: _with_tuples(value) for name, value in json.loads(text).items()}


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_tuples(each) for name, each in value.items()}
    return tuple(_with_tuples(each) for each in value) if isinstance(value, list) else value


def fingerprint(told: Mapping[str, Any], paths: Iterable[str | None], world_size: int, layout: Layout) -> str:
    """Of settings and of the published tables at the paths; ranks read other rows where there are more of them.

    layout: of the training rows. The same content in other row groups is read in another order.
    """
    manifests = [read_text(path + MANIFEST_SUFFIX) for path in paths if path is not None]
    contents = [json.loads(text)["content"] for text in manifests if text is not None]
    whole = {**told, "contents": contents, "world_size": world_size, "layout": layout}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether a training computes in it. precision: auto, float32 or bfloat16."""
    return precision == "bfloat16" or (precision == "auto" and _computes_in_bfloat16(device))


def _computes_in_bfloat16(device: torch.device) -> bool:
    """GPUs before Ampere, such as the T4, refuse it or emulate it slowly."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def summary(trained: Trained, reader: ParquetReader) -> dict[str, Any]:
    """What a training came to, as plain values."""
    return {
        "curve": trained.curve,
        "best_epoch": trained.best_epoch,
        "seconds": round(trained.seconds, 2),
        "share_waiting": round(trained.share_waiting, 4),
        "examples": reader.num_rows,
        "steps_per_epoch": reader.batches_per_epoch,
    }


def train_from_file(package: str, description: str | None, train: Callable[[str], dict[str, Any]]) -> None:
    """The command line of a trainer: `train` gets a file's text; the first process prints what it returns."""
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
    parser.add_argument("job", type=Path, help="a JSON file with the fields of the job")
    found = train(parser.parse_args().job.read_text(encoding="utf-8"))
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(found, indent=1))
